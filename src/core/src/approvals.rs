//! Approvals: questions of the provider that wait for a person (behaviour 6, 9). Some are held at the control server,
//! whose caller gets the decision; the others are the adapter's, which passes it on. The first answer wins.
//!
//! ```text
//! Open -> Deciding -> over      answered at the terminal, its turn or process over, its time over: Open -> over
//! ```

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::Core;
use crate::config::Mode;
use crate::deadlines::TimerKey;
use crate::effect::{Act, Answer, Decision, Effect, Effects};
use crate::event::{ApprovalRequest, PermissionAsk};
use crate::flags::Flag;
use crate::ids::{OpId, RequestId, Text, TurnNumber};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;
use crate::time::{Mono, Wall};
use crate::view::{ApprovalOverView, ApprovalView};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Approval {
    pub(crate) request: ApprovalRequest,
    pub(crate) since: Wall,
    /// The turn that asked.
    turn: Option<TurnNumber>,
    /// Who waits for the decision at the control server, and until when; none when it is the adapter's.
    held: Option<(RequestId, Mono)>,
    /// Passed on to the adapter, whose answer to this operation is awaited.
    pub(crate) decided: Option<(Decision, OpId)>,
}

/// What became of a request that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Over {
    Decided(Decision),
    Elsewhere,
    TurnEnded,
    ProcessEnded,
    Late,
}

impl Over {
    const fn name(self) -> &'static str {
        match self {
            Self::Decided(_) => "decided",
            Self::Elsewhere => "elsewhere",
            Self::TurnEnded => "turn ended",
            Self::ProcessEnded => "process ended",
            Self::Late => "late",
        }
    }

    /// Why a decision comes too late.
    pub(crate) fn why(self) -> Text {
        match self {
            Self::Decided(decision) => format!("it was decided already: {}", decision.as_str()).into(),
            Self::Elsewhere => "it was answered in the provider itself, or withdrawn".into(),
            Self::TurnEnded => "the request is over: its turn has ended".into(),
            Self::ProcessEnded => "the request is over: its provider process has ended".into(),
            Self::Late => "the request is over: nobody decided in time".into(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Approvals {
    open: BTreeMap<Text, Approval>,
    /// Those that were over last, oldest first, so that a late decision is told why.
    over: VecDeque<(Text, Over)>,
    version: u64,
}

impl Approvals {
    pub(crate) fn any_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Text, &Approval)> {
        self.open.iter()
    }

    pub(crate) fn open(&self) -> impl Iterator<Item = ApprovalView<'_>> {
        self.open.iter().map(|(id, open)| {
            let state = match (&open.held, open.decided) {
                (Some(_), _) => "held",
                (None, None) => "asked",
                (None, Some(_)) => "deciding",
            };
            ApprovalView { id, state, tool: open.request.tool.as_deref(), since: open.since }
        })
    }

    pub(crate) fn closed(&self) -> impl Iterator<Item = ApprovalOverView<'_>> {
        self.over.iter().map(|(id, over)| ApprovalOverView { id, how: over.name() })
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Approval> {
        self.open.get_mut(id)
    }

    /// What became of a request that is not open; none when there never was one.
    pub(crate) fn over(&self, id: &str) -> Option<Over> {
        self.over.iter().rev().find(|(known, _)| **known == *id).map(|(_, over)| *over)
    }

    fn next_due(&self) -> Option<Mono> {
        self.open.values().filter_map(|open| open.held).map(|(_, due)| due).min()
    }

    fn ids(&self, test: impl Fn(&Approval) -> bool) -> Vec<Text> {
        self.open.iter().filter(|(_, open)| test(open)).map(|(id, _)| id.clone()).collect()
    }
}

impl Core {
    /// The adapter's: it waits for a decision that is passed on to it.
    pub(crate) fn approval_opened(&mut self, request: ApprovalRequest, fx: &mut Effects) {
        let id = request.id.clone();
        if !self.open_approval(request, None, fx) && !self.approvals.open.contains_key(&id) {
            self.turn_away(id, fx);
        }
    }

    /// There is no room for it. An agent that asked waits for an answer; one that asks faster than it reads gets no
    /// more than so many at a time.
    fn turn_away(&mut self, approval: Text, fx: &mut Effects) {
        let under_way = self.ops.count(|op| matches!(op, Op::Decide(..)));
        if !self.config.flags.has(Flag::DeniesApprovalsBeyondTheLimit) || under_way >= self.config.limits.approvals {
            return;
        }
        let generation = self.lifecycle.generation();
        let op = self.ops.start(Op::Decide(generation, approval.clone()), self.after(self.config.timing.call_deadline));
        let reason = Some("too many requests are open already; ask again once some of them are decided".into());
        fx.push(Effect::Provider { op, generation, act: Act::Decide { approval, decision: Decision::Deny, reason } });
    }

    /// A hook's, which waits at the control server: of the living session, or nobody decides about it.
    pub(crate) fn permission_asked(&mut self, request: RequestId, ask: PermissionAsk, fx: &mut Effects) {
        let pids: Vec<u32> = ask.pid.iter().chain(&ask.pids).copied().collect();
        if !self.is_of_living_session(ask.session.as_deref(), &pids) {
            fx.note(Note::Stale { what: "permission request of another session", number: 0 });
            fx.push(Effect::Answer { request, answer: Answer::Stale });
            return;
        }
        let due = self.after(self.config.timing.approval.max(1));
        if !self.open_approval(ask.approval, Some((request, due)), fx) {
            let reason = Some("the same request is open already, or too many are".into());
            fx.push(Effect::Answer { request, answer: Answer::Permission { decision: None, reason } });
        }
    }

    fn open_approval(&mut self, request: ApprovalRequest, held: Option<(RequestId, Mono)>, fx: &mut Effects) -> bool {
        let id = request.id.clone();
        if self.approvals.open.contains_key(&id) {
            return false;
        }
        if self.approvals.open.len() >= self.config.limits.approvals {
            if !self.troubles.said("approvals are full", self.now.mono, &self.config) {
                fx.note(Note::Full { what: "approvals", dropped: 1 });
            }
            return false;
        }
        let turn = self.turns.current();
        self.approvals.open.insert(id, Approval { request, since: self.now.wall, turn, held, decided: None });
        self.approvals.version += 1;
        self.deadlines.set(TimerKey::Approvals, self.approvals.next_due());
        self.wait_for_taking();
        self.sign_of_life(fx);
        true
    }

    /// A person answered in the provider's own dialog, or the provider does not ask any more.
    pub(crate) fn approval_answered_elsewhere(&mut self, id: &Text, fx: &mut Effects) {
        if self.approvals.open.contains_key(id) {
            self.close_approval(id, Over::Elsewhere, None, fx);
            self.sign_of_life(fx);
        }
    }

    /// Whoever holds it at the control server is told; so is, from now on, whoever decides too late.
    pub(crate) fn close_approval(&mut self, id: &Text, over: Over, reason: Option<Text>, fx: &mut Effects) {
        let Some(approval) = self.approvals.open.remove(id) else { return };
        self.approvals.version += 1;
        self.approvals.over.push_back((id.clone(), over));
        while self.approvals.over.len() > self.config.limits.approvals {
            self.approvals.over.pop_front();
        }
        if let Some((request, _)) = approval.held {
            let decision = match over {
                Over::Decided(decision) => Some(decision),
                // Nobody is there to look at a dialog.
                Over::Late if self.config.mode == Mode::Headless => Some(Decision::Deny),
                Over::Elsewhere | Over::TurnEnded | Over::ProcessEnded | Over::Late => None,
            };
            let reason = reason.or_else(|| (!matches!(over, Over::Decided(_))).then(|| over.why()));
            fx.push(Effect::Answer { request, answer: Answer::Permission { decision, reason } });
        }
        self.deadlines.set(TimerKey::Approvals, self.approvals.next_due());
        self.touched.inbox = true;
        self.wait_for_taking();
    }

    /// Decides about a request that is held at the control server. False when this one is not.
    pub(crate) fn decide_held(
        &mut self,
        id: &Text,
        decision: Decision,
        reason: Option<Text>,
        fx: &mut Effects,
    ) -> bool {
        let held = self.approvals.open.get(id).is_some_and(|open| open.held.is_some());
        if held {
            self.close_approval(id, Over::Decided(decision), reason, fx);
        }
        held
    }

    pub(crate) fn approvals_overdue(&mut self, fx: &mut Effects) {
        let now = self.now.mono;
        for id in self.approvals.ids(|open| open.held.is_some_and(|(_, due)| due <= now)) {
            self.close_approval(&id, Over::Late, None, fx);
        }
    }

    /// A turn begins. What was asked before anybody heard of it was asked by it: an idle provider asks nothing.
    pub(crate) fn approvals_have_a_turn(&mut self, turn: TurnNumber) {
        self.approvals.open.values_mut().for_each(|open| open.turn = open.turn.or(Some(turn)));
    }

    /// The turn that asked is over: a decision reaches no later request.
    pub(crate) fn approvals_of_turn(&mut self, turn: TurnNumber, fx: &mut Effects) {
        let kept = self.config.is_mutant(Mutant::KeepsQuestionsOpen);
        for id in self.approvals.ids(|open| open.turn == Some(turn) && !kept) {
            self.close_approval(&id, Over::TurnEnded, None, fx);
        }
    }

    /// The process that asked is gone.
    pub(crate) fn approvals_of_the_dead(&mut self, fx: &mut Effects) {
        for id in self.approvals.ids(|_| true) {
            self.close_approval(&id, Over::ProcessEnded, None, fx);
        }
    }
}
