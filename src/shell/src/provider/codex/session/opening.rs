//! Coming up: greeting codex, opening the thread, and finding out what became of what was handed over before.

use super::{Call, LOCKED_MOST, LOCKED_WAIT_MS, Out, PAGES_MOST, Pending, Phase, Session, TURNS_PER_PAGE};
use crate::provider::codex::words::{self, Page};
use relay_runner_core::event::ExitClass;
use relay_runner_core::{ProviderReport, Text};
use serde_json::{Value, json};

impl Session {
    pub(super) fn greeted(&mut self, said: &Value) {
        if let Some(agent) = said["userAgent"].as_str() {
            self.note(false, format!("codex is {agent}"));
        }
        self.say(json!({"method": "initialized"}));
        self.phase = Phase::Account;
        self.call(Call::Account, "account/read", &json!({}));
    }

    pub(super) fn has_account(&mut self, said: &Value) {
        if said["requiresOpenaiAuth"] == true && said["account"].is_null() {
            let why = "codex is not logged in: run `codex login` (with the same CODEX_HOME), or name a model provider in \
                       its config.toml; then `relay-runner restart`";
            return self.end(ExitClass::Refused, why.to_owned());
        }
        self.give_skills();
    }

    pub(super) fn give_skills(&mut self) {
        if self.opening.skills.is_empty() {
            return self.open();
        }
        self.phase = Phase::Skills;
        self.call(Call::Skills, "skills/extraRoots/set", &json!({"extraRoots": self.opening.skills}));
    }

    pub(super) fn open(&mut self) {
        self.phase = Phase::Opening;
        let mut params = words::thread(&self.opening);
        if self.thread.is_some() {
            params["excludeTurns"] = json!(true);
            params["initialTurnsPage"] = json!({"limit": TURNS_PER_PAGE, "itemsView": "full"});
            self.call_thread(Call::Open { resumes: true }, "thread/resume", params);
        } else {
            self.call(Call::Open { resumes: false }, "thread/start", &params);
        }
    }

    pub(super) fn not_opened(&mut self, resumes: bool, why: &str) {
        if resumes && words::is_gone(why) {
            let thread = self.thread.take().unwrap_or_default();
            self.note(true, format!("codex has no thread {thread} any more ({why}); another one is begun"));
            self.open();
        } else if resumes && words::is_locked(why) && self.locked < LOCKED_MOST {
            self.locked += 1;
            self.out.push(Out::Locked(LOCKED_WAIT_MS));
        } else if resumes && words::is_locked(why) {
            let thread = self.thread.clone().unwrap_or_default();
            let why = format!(
                "codex's thread {thread} is held by another program: a codex that has it open, or the daemon that codex's own \
                 terminal leaves behind (`codex app-server daemon stop`, with the same CODEX_HOME); end that, then `relay-runner \
                 restart`; or begin without the thread with --fresh"
            );
            self.end(ExitClass::Refused, why);
        } else {
            self.end(
                ExitClass::Refused,
                format!("codex cannot open its thread: {why}; mend that, then `relay-runner restart`"),
            );
        }
    }

    pub(super) fn opened(&mut self, said: &Value) {
        let Some(thread) = said["thread"]["id"].as_str() else {
            return self.end(ExitClass::Crash, "codex opened a thread without an id".to_owned());
        };
        let known = self.thread.replace(thread.to_owned());
        self.report(ProviderReport::Conversation { id: thread.into() });
        self.report_model(&said["model"], &said["reasoningEffort"]);
        self.active = said["thread"]["status"]["type"] == "active";
        self.pages.clear();
        self.pages_read = 0;
        match serde_json::from_value::<Option<Page>>(said["initialTurnsPage"].clone()) {
            Ok(Some(page)) if known.is_some() => self.read_page(page),
            Ok(_) => self.in_step(),
            Err(error) => {
                self.odd(format!("a page of turns that cannot be read: {error}"));
                self.in_step();
            }
        }
    }

    pub(super) fn report_model(&mut self, model: &Value, effort: &Value) {
        if let Some(model) = model.as_str() {
            let effort = effort.as_str().map(Text::from);
            self.report(ProviderReport::Model { model: model.into(), effort });
        }
    }

    pub(super) fn paged(&mut self, said: Result<Value, String>) {
        match said.and_then(|said| serde_json::from_value(said).map_err(|e| e.to_string())) {
            Ok(page) => self.read_page(page),
            Err(why) => {
                self.note(true, format!("codex does not list the turns of its thread: {why}"));
                self.in_step();
            }
        }
    }

    /// Reads on as long as something is looked for.
    pub(super) fn read_page(&mut self, page: Page) {
        self.pages.extend(page.data);
        self.pages_read += 1;
        let wanted = |pending: &Pending| !self.pages.iter().any(|turn| turn.has(&pending.offers, &pending.client));
        let more = self.pending.iter().any(wanted);
        match page.next_cursor {
            Some(cursor) if more && self.pages_read < PAGES_MOST => {
                self.phase = Phase::Paging;
                let params = json!({"cursor": cursor, "limit": TURNS_PER_PAGE, "itemsView": "full"});
                self.call_thread(Call::Page, "thread/turns/list", params);
            }
            Some(_) | None => self.in_step(),
        }
    }

    /// What became of all that was handed over is known now, as far as codex knows it.
    pub(super) fn in_step(&mut self) {
        self.phase = Phase::Live;
        self.locked = 0;
        let mut turns = std::mem::take(&mut self.pages);
        turns.reverse();
        for turn in turns {
            let known = self.turn.as_ref().is_some_and(|running| running.id == turn.id);
            let had: Vec<usize> = (0..self.pending.len())
                .filter(|&at| turn.has(&self.pending[at].offers, &self.pending[at].client))
                .collect();
            if !known && had.is_empty() && !turn.is_running() {
                continue;
            }
            self.turn_started(&turn.id);
            if let Some(running) = self.turn.as_mut().filter(|_| !self.said_ready) {
                // Whoever interrupted a turn that an earlier run began is not known.
                running.stopped_by_us = true;
            }
            for at in had.into_iter().rev() {
                let pending = self.pending.remove(at);
                self.shown(pending);
            }
            if !turn.is_running() {
                self.turn_ended(&turn);
            } else if known && self.stopping {
                self.interrupt(None);
            }
        }
        // One that was running when the connection broke, and is too far back to be found.
        if !self.active {
            self.unseen_end();
        }
        let running = self.turn.as_ref().map(|running| running.id.clone());
        for pending in &mut self.pending {
            pending.into.clone_from(&running);
        }
        if running.is_none() {
            self.lose(|_| true);
        }
        if !std::mem::replace(&mut self.said_ready, true) {
            self.report(ProviderReport::Ready);
        }
        self.go_on();
    }
}
