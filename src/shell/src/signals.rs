//! The signals of the process, as orders (behaviour 18).

use crate::input::{Inputs, Task};
use relay_runner_core::event::Signal;
use relay_runner_core::{Event, Order};
use std::io;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// Listens from now on. Fails only when the system refuses a handler.
pub(crate) fn listen(inputs: &Inputs) -> io::Result<Task> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut user2 = signal(SignalKind::user_defined2())?;
    let to = inputs.clone();
    Ok(Task::start("the signals", inputs, async move {
        loop {
            let signal = tokio::select! {
                () = next(&mut terminate) => Signal::Term,
                () = next(&mut interrupt) => Signal::Int,
                () = next(&mut quit) => Signal::Quit,
                () = next(&mut hangup) => Signal::Hup,
                () = next(&mut user2) => Signal::Usr2,
            };
            if !to.event(Event::Order(Order::Signal(signal))).await {
                return;
            }
        }
    }))
}

async fn next(stream: &mut Stream) {
    if stream.recv().await.is_none() {
        // The runtime is going down: there is no further signal.
        std::future::pending::<()>().await;
    }
}
