//! The terminal that the runner was started in, handed over to a provider: its process group is the terminal's foreground
//! group, so that what is typed, Ctrl-C and a new size of the window are its own, and the runner is behind it.
//!
//! A person's shell knows only the runner. So the runner follows its provider as a shell follows a job: when that stops, the
//! terminal comes back as it was and the runner stops as well; when the shell goes on with the runner, so does the provider.

use nix::sys::signal::{SigSet, SigmaskHow, Signal as Blocked};
use relay_runner_core::event::ExitClass;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgrp, kill_process_group, waitid};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};
use std::convert::Infallible;
use std::fs::File;
use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a program may have switched on in a terminal and was killed before it could switch it off: the other screen, no
/// cursor, the mouse, focus, pasting in brackets, other keys, colours. Harmless where it is off.
const USUAL: &[u8] = b"\x1b[?1047l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\
    \x1b[<u\x1b[>4m\x1b[0m\r\n";

/// Whether there is a terminal to hand over: standard input, output and error are one, and it is that of our session. The
/// error says what is there instead. A runner in the background waits here until it is in the foreground.
pub fn has_terminal() -> Result<(), String> {
    let streams = [
        ("input", io::stdin().is_terminal()),
        ("output", io::stdout().is_terminal()),
        ("error", io::stderr().is_terminal()),
    ];
    if let Some((name, _)) = streams.into_iter().find(|(_, is)| !is) {
        return Err(format!("its standard {name} is no terminal"));
    }
    let terminal = terminal().map_err(|error| format!("its terminal cannot be opened: {error}"))?;
    let front = |terminal: &File| tcgetpgrp(terminal).map_err(|_| "it is not in a session of that terminal".to_owned());
    if front(&terminal)? != getpgrp() {
        // As any program in the background that wants to read does; its shell says so.
        stop_ourselves(Signal::TTIN);
        if front(&terminal)? != getpgrp() {
            return Err("it is in the background".to_owned());
        }
    }
    Ok(())
}

/// A handle of our own.
fn terminal() -> io::Result<File> {
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// The terminal, and who has it. It comes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Foreground {
    terminal: File,
    ours: Pid,
    /// Its leader is a child of ours.
    provider: Pid,
    /// As the terminal was before, and is again after.
    modes: Termios,
    /// As the provider left it when it stopped.
    its_modes: Option<Termios>,
    is_stopped: bool,
    children: Stream,
    continued: Stream,
}

/// The terminal before it is handed over: from here on no stop of a child is missed.
#[derive(Debug)]
pub(crate) struct Background {
    terminal: File,
    modes: Termios,
    children: Stream,
    continued: Stream,
}

impl Background {
    pub(crate) fn new() -> io::Result<Self> {
        let terminal = terminal()?;
        let modes = tcgetattr(&terminal)?;
        let (children, continued) =
            (signal(SignalKind::child())?, signal(SignalKind::from_raw(Signal::CONT.as_raw()))?);
        Ok(Self { terminal, modes, children, continued })
    }

    /// Hands it over to this process and its group.
    pub(crate) fn to(self, provider: Pid) -> Foreground {
        let Self { terminal, modes, children, continued } = self;
        let (ours, its_modes) = (getpgrp(), None);
        let mut foreground =
            Foreground { terminal, ours, provider, modes, its_modes, is_stopped: false, children, continued };
        foreground.hand_over();
        foreground
    }
}

impl Foreground {
    /// Does what a shell does for its job, as long as the provider lives.
    pub(crate) async fn follow(&mut self) -> Infallible {
        loop {
            tokio::select! {
                () = next(&mut self.children) => self.look(),
                () = next(&mut self.continued) => self.went_on(),
            }
        }
    }

    /// So that a provider that was stopped hears of a signal.
    pub(crate) fn wake(&mut self) {
        if std::mem::take(&mut self.is_stopped) {
            self.tell(Signal::CONT);
        }
    }

    /// The provider is gone. Whoever did not end by itself left the terminal as it was using it.
    pub(crate) fn ended(&mut self, class: ExitClass) {
        let was_its_own = self.take_back();
        if was_its_own && class == ExitClass::Signal {
            // A terminal that is gone needs nothing.
            let _ = (&self.terminal).write_all(USUAL);
        }
    }

    /// Whether the provider has stopped since the last look.
    fn look(&mut self) {
        let stops = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        // An error: it is gone, and whoever waits for it knows.
        let Ok(Some(status)) = waitid(WaitId::Pid(self.provider), stops) else { return };
        let Some(number) = status.stopping_signal() else { return };
        self.is_stopped = true;
        let wanted_terminal = [Signal::TTIN, Signal::TTOU].map(Signal::as_raw).contains(&number);
        match self.front() {
            // It asked for the terminal before it had it.
            Some(front) if wanted_terminal && front == self.provider => self.wake(),
            Some(front) if wanted_terminal && front == self.ours => self.hand_over(),
            _ => self.suspend(),
        }
    }

    /// The runner stops as its provider has, and the shell has the terminal.
    fn suspend(&mut self) {
        if self.front() == Some(self.provider) {
            self.its_modes = tcgetattr(&self.terminal).ok();
        }
        self.take_back();
        tracing::info!("the provider was stopped, and the runner stops with it");
        stop_ourselves(Signal::TSTP);
        // The shell has gone on with us; or there is none, and nobody could.
        if self.front() == Some(self.ours) {
            self.hand_over();
        }
    }

    /// The shell has told us to go on, in the foreground or in the background.
    fn went_on(&mut self) {
        match self.front() {
            Some(front) if front == self.ours => self.hand_over(),
            Some(_) => self.wake(),
            None => {}
        }
    }

    /// Nothing where the terminal is not ours to give: then the provider is in the background as we are.
    fn hand_over(&mut self) {
        if self.front() == Some(self.ours) {
            unstopped(|| {
                if let Some(modes) = self.its_modes.take() {
                    note("set the modes of", tcsetattr(&self.terminal, OptionalActions::Now, &modes));
                }
                note("hand over", tcsetpgrp(&self.terminal, self.provider));
            });
        }
        self.wake();
    }

    /// As it was. False when somebody else has it, who is left alone.
    fn take_back(&mut self) -> bool {
        let is_its_own = self.front().is_none_or(|front| front == self.provider);
        if is_its_own {
            unstopped(|| {
                note("take back", tcsetpgrp(&self.terminal, self.ours));
                note("set the modes of", tcsetattr(&self.terminal, OptionalActions::Now, &self.modes));
            });
        }
        is_its_own
    }

    /// The group that has the terminal. None: a group that is gone has it, or the terminal itself is gone.
    fn front(&self) -> Option<Pid> {
        tcgetpgrp(&self.terminal).ok()
    }

    fn tell(&self, signal: Signal) {
        match kill_process_group(self.provider, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => tracing::warn!("cannot signal the provider's process group: {error}"),
        }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// A terminal that is gone is no error: the end of the provider follows.
fn note(doing: &str, done: Result<(), rustix::io::Errno>) {
    if let Err(error) = done {
        tracing::debug!("cannot {doing} the terminal: {error}");
    }
}

/// Whoever is in the background and changes the terminal is stopped for it, but for those who do not hear the signal.
fn unstopped(change: impl FnOnce()) {
    let stop = SigSet::from_iter([Blocked::SIGTTOU]);
    match stop.thread_swap_mask(SigmaskHow::SIG_BLOCK) {
        Ok(before) => {
            change();
            if let Err(error) = before.thread_set_mask() {
                tracing::warn!("the signals of this thread cannot be set back: {error}");
            }
        }
        Err(error) => tracing::warn!("the terminal is left as it is, as a signal cannot be blocked: {error}"),
    }
}

/// All of our job. The system passes it over where nobody is there to go on with us.
fn stop_ourselves(how: Signal) {
    if let Err(error) = kill_process_group(getpgrp(), how) {
        tracing::warn!("the runner cannot stop itself: {error}");
    }
}

async fn next(stream: &mut Stream) {
    if stream.recv().await.is_none() {
        // The runtime is going down: there is no further signal.
        pending::<()>().await;
    }
}
