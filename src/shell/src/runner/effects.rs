//! Carrying effects out. None of this waits: what takes time is a task, and its answer an input.

use super::Runner;
use crate::bus::Bus;
use crate::clock;
use crate::control::{Beside, Control};
use crate::environment::{self, Additions};
use crate::http::Job;
use crate::info::Info;
use crate::input::{Input, Task};
use crate::options::{ProviderSpec, SettingsSource};
use crate::provider::leftover::token_of;
use crate::provider::reporter::Reporter;
use crate::provider::{Adopt, Deed, Handed, Start};
use crate::secret::Redactor;
use relay_runner_core::config::Approval;
use relay_runner_core::event::FailureKind;
use relay_runner_core::ids::Conn;
use relay_runner_core::{Act, Effect, ExitCode, Generation, Offer, Offers, OpId, OpResult, Text, TokenSlot, ids, wire};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

impl Runner {
    /// The exit code, when this is the end.
    pub(super) fn carry_out(&mut self, effect: Effect) -> Option<ExitCode> {
        match effect {
            Effect::StartControl { op } => self.start_control(op),
            Effect::WriteInfo { op } => self.write_info(op),
            Effect::Connect { conn } => self.connect(conn),
            Effect::Disconnect { conn } => self.disconnect(conn),
            Effect::Send { conn, frame } => {
                if let Some(bus) = self.bus.as_ref().filter(|bus| bus.conn == conn) {
                    bus.send(wire::frame(&self.core, &frame));
                }
            }
            Effect::ReadSettings { op } => self.read_settings(op),
            Effect::UseToken { slot } => self.use_token(slot),
            Effect::Http { op, key, epoch, deadline, call } => {
                let request = wire::request(&self.core, key, epoch, &call);
                let deadline = clock::after(Duration::from_millis(deadline));
                self.http.ask(Job { op, call, request, deadline });
            }
            Effect::FetchAttachments { op, message, deadline } => {
                self.fetch_attachments(op, message, Duration::from_millis(deadline));
            }
            Effect::Spawn { op, generation, resume } => self.spawn(op, generation, resume),
            Effect::Adopt { op, generation, process, offers, conversation } => {
                let reporter = self.reporter(generation, token_of(&process));
                self.provider.adopt(Adopt { op, generation, process, offers, conversation, reporter });
            }
            Effect::Provider { op, generation, act } => self.act(op, generation, act),
            Effect::Stop { generation, step } => self.provider.stop(generation, step),
            Effect::Answer { request, answer } => {
                if let Some(asker) = self.requests.remove(&request) {
                    // Whoever asked may have gone.
                    let _ = asker.send(answer);
                }
            }
            Effect::Finish { code } => return Some(code),
        }
        None
    }

    fn start_control(&mut self, op: OpId) {
        // Claude Code asks also where it was told to ask nothing; what another program asks for is its own matter.
        let is_claude = matches!(self.options.provider, ProviderSpec::Claude(_));
        let beside = Beside {
            relay: self.http.watch(),
            monitor: self.monitor.clone(),
            hooked: self.hooked.clone(),
            allows_all: is_claude && self.core.config().identity.approval == Approval::Open,
        };
        match Control::start(&self.runner_dir, &self.inputs, &beside) {
            Ok(control) => {
                self.control = Some(control);
                self.done(op, OpResult::Ok);
            }
            Err(why) => self.failed(op, FailureKind::Io, why),
        }
    }

    fn write_info(&mut self, op: OpId) {
        let Some(control) = &self.control else {
            return self.failed(op, FailureKind::NotReady, "the control server does not run".to_owned());
        };
        let identity = &self.core.config().identity;
        let written = self.info.write(&Info {
            agent_id: &identity.agent_id,
            runner_id: &identity.runner_id,
            provider: &identity.provider,
            control_url: format!("http://127.0.0.1:{}", control.port),
            control_socket: &control.socket,
            secret: control.secret.expose_secret(),
            pid: std::process::id(),
            tmux_session: identity.tmux_session.as_deref(),
            tmux_socket: identity.tmux_socket.as_deref(),
            state_dir: &self.state_dir,
            started_at: identity.started_at,
        });
        match written {
            Ok(()) => self.done(op, OpResult::Ok),
            Err(why) => self.failed(op, FailureKind::Io, why),
        }
    }

    fn connect(&mut self, conn: Conn) {
        if let Some(before) = self.bus.take() {
            self.disconnect_bus(before);
        }
        self.bus = Some(Bus::connect(conn, self.bus_target.clone(), &self.inputs));
    }

    fn disconnect(&mut self, conn: Conn) {
        if let Some(bus) = self.bus.take_if(|bus| bus.conn == conn) {
            self.disconnect_bus(bus);
        }
    }

    fn disconnect_bus(&mut self, bus: Bus) {
        self.farewell = Some(Task::start("the bus", &self.inputs, bus.close()));
    }

    fn read_settings(&mut self, op: OpId) {
        match self.options.settings.as_ref().map(SettingsSource::read) {
            Some(Ok(settings)) => self.done(op, OpResult::Settings(Box::new(settings))),
            Some(Err(why)) => self.failed(op, FailureKind::Invalid, why),
            None => self.failed(op, FailureKind::Unsupported, "there is no configuration to read again".to_owned()),
        }
    }

    /// Everything that is asked from now on is asked with it.
    fn use_token(&mut self, slot: TokenSlot) {
        let record = self.core.token_record().cloned().unwrap_or_default();
        if let Err(why) = self.tokens.adopt(slot, &record) {
            tracing::warn!("{why}");
        }
        self.bus_target.token = self.tokens.current().cloned();
        if let Some(token) = self.tokens.current() {
            self.http.use_token(token);
        }
    }

    fn spawn(&mut self, op: OpId, generation: Generation, resume: Option<Text>) {
        let identity = &self.core.config().identity;
        let session = ids::provider_session(self.core.run_id(), generation);
        let instructions = self.introduction();
        let env = environment::build(
            std::env::vars_os(),
            &self.options.environment,
            &Additions {
                runner_dir: self.runner_dir.as_os_str(),
                runner_port: self.control.as_ref().map(|control| control.port),
                runner_id: &identity.runner_id,
                agent_id: &identity.agent_id,
                relay_url: self.options.relay.base(),
                approval: identity.approval.as_str(),
                token: self.tokens.current().map(ExposeSecret::expose_secret),
                record: self.core.token_record(),
                provider_session: &session,
                model: identity.model.as_deref(),
                effort: identity.effort.as_deref(),
                instructions: instructions.as_deref(),
                home: self.profile_home.as_ref().map(|(name, dir)| (*name, dir.as_os_str())),
            },
        );
        let reporter = self.reporter(generation, None);
        self.provider.start(Start { op, generation, env, cwd: self.options.cwd.clone(), resume, reporter });
    }

    /// `older` is a token that the process may know besides.
    fn reporter(&self, generation: Generation, older: Option<SecretString>) -> Reporter {
        let control = self.control.as_ref().map(|control| control.secret.clone());
        let secrets = [self.tokens.current().cloned(), control, older].into_iter().flatten();
        let passed_on = self.options.environment.secrets(|name| std::env::var(name).ok());
        let redactor = Redactor::new(secrets.chain(passed_on));
        Reporter::new(self.inputs.clone(), generation, redactor)
    }

    fn act(&mut self, op: OpId, generation: Generation, act: Act) {
        let deed = match act {
            Act::Offer { offers } => return self.offer(op, generation, offers),
            Act::Prompt => match &self.options.first_prompt {
                Some(text) => Deed::Prompt(text.as_str().into()),
                None => return self.failed(op, FailureKind::Invalid, "there is no first prompt".to_owned()),
            },
            Act::Inject { command } => {
                let Some(content) = self.bodies.content(&command) else {
                    let why = "the content of the command is no longer at hand; send the command again".to_owned();
                    return self.failed(op, FailureKind::NotFound, why);
                };
                Deed::Inject(content.trim().into())
            }
            Act::Interrupt => Deed::Interrupt,
            Act::Probe => Deed::Probe,
            Act::Compact => Deed::Compact,
            Act::Clear => Deed::Clear,
            Act::Tell { message, why } => Deed::Tell { message, why },
            Act::Decide { approval, decision, reason } => Deed::Decide { approval, decision, reason },
        };
        self.provider.act(generation, op, deed);
    }

    /// Hands a batch over, once all its words are at hand.
    fn offer(&mut self, op: OpId, generation: Generation, offers: Offers) {
        let missing: Vec<u64> =
            offers.iter().map(|o| o.message).filter(|id| self.bodies.message(*id).is_none()).collect();
        if missing.is_empty() {
            return self.offer_known(op, generation, &offers);
        }
        let (relay, inputs) = (self.http.relay(), self.inputs.clone());
        let task = Task::start("HTTP", &self.inputs, async move {
            let mut messages = Ok(Vec::new());
            for id in missing {
                match relay.message(id).await {
                    Ok(message) => {
                        if let Ok(all) = &mut messages {
                            all.push(message);
                        }
                    }
                    Err(failure) => {
                        messages = Err(failure);
                        break;
                    }
                }
            }
            inputs.send(Input::Fetched { op, generation, offers, messages }).await;
        });
        self.fetches.insert(op, task);
    }

    pub(super) fn offer_known(&mut self, op: OpId, generation: Generation, offers: &[Offer]) {
        let mut handed = |offer: &Offer| {
            let message = self.bodies.message(offer.message)?;
            Some(Handed { offer: *offer, message, files: self.attachments.of(offer.message) })
        };
        let known: Option<Vec<Handed>> = offers.iter().map(&mut handed).collect();
        match known {
            Some(known) => self.provider.act(generation, op, Deed::Offer(known)),
            // More words than are kept at a time: one batch is far below that.
            None => self.failed(op, FailureKind::NotFound, "the words of a message are not at hand".to_owned()),
        }
    }
}
