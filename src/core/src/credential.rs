//! The credential: the runtime token in force, renewed before it ends (behaviour 12). The token itself stays in the
//! shell, in a numbered slot; the core knows what its record says of it.
//!
//! ```text
//! Fixed      no token, or one that cannot be renewed
//! Planned -> Renewing -> Planned      refused after its end: -> Expired      a new token, from anywhere: -> Planned
//! ```

use serde::{Deserialize, Serialize};

use crate::Core;
use crate::deadlines::TimerKey;
use crate::draw::{Stream, draw_below};
use crate::effect::{Answer, Call, Effect, Effects};
use crate::event::{Failure, FailureKind, OpResult, TokenRecord};
use crate::ids::{Conn, OpId, RequestId, TokenSlot};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;
use crate::time::{MINUTE, Millis, SECOND, Stamp, Wall};

/// The longest wait that every timer can hold: what is longer is split.
pub const WAIT_MOST: Millis = 2_147_483_647;
/// After a renewal that failed: at most this long, at most half of what remains, at least a second.
const AGAIN_MOST: Millis = MINUTE;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// Nothing to renew.
    Fixed,
    /// To be renewed at this time, on whichever clock comes first.
    Planned {
        due: Stamp,
    },
    Renewing {
        op: OpId,
    },
    /// It has ended, and the relay did not renew it: another has to be handed in.
    Expired,
}

/// What the relay thinks of it, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Standing {
    Good,
    /// A call was refused with 401 or 403; one renewal shows whether that is the credential's fault.
    Suspect,
    /// Liveness pauses until there is another, or the relay accepts this one at a registration.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credential {
    /// Counts the credentials of this process.
    number: u64,
    record: Option<TokenRecord>,
    phase: Phase,
    standing: Standing,
    /// Renewals of this one that failed.
    tries: u64,
    /// What was asked before this operation, or connected before this connection, was asked under an older one.
    first_op: OpId,
    first_conn: Conn,
    /// What was asked before this operation was asked before the relay refused it.
    #[serde(default = "never_refused")]
    refused_before: OpId,
    /// Its end was said already.
    end_is_said: bool,
    version: u64,
}

const fn never_refused() -> OpId {
    OpId(0)
}

impl Credential {
    pub(crate) const fn new(record: Option<TokenRecord>) -> Self {
        Self {
            number: 1,
            record,
            phase: Phase::Fixed,
            standing: Standing::Good,
            tries: 0,
            first_op: OpId(0),
            first_conn: 0,
            refused_before: OpId(0),
            end_is_said: false,
            version: 0,
        }
    }

    pub(crate) const fn record(&self) -> Option<&TokenRecord> {
        self.record.as_ref()
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    pub(crate) const fn is_refused(&self) -> bool {
        matches!(self.standing, Standing::Refused)
    }

    /// A renewal is to show whether the credential is good: until then nothing else is asked with it.
    pub(crate) const fn calls_wait(&self) -> bool {
        matches!((self.standing, self.phase), (Standing::Suspect, Phase::Renewing { .. }))
    }

    /// The phase's name.
    pub(crate) const fn name(&self) -> &'static str {
        match self.phase {
            Phase::Fixed => "fixed",
            Phase::Planned { .. } => "planned",
            Phase::Renewing { .. } => "renewing",
            Phase::Expired => "expired",
        }
    }

    pub(crate) const fn standing_name(&self) -> &'static str {
        match self.standing {
            Standing::Good => "good",
            Standing::Suspect => "suspect",
            Standing::Refused => "refused",
        }
    }

    /// What status says of it.
    pub(crate) fn state(&self, now: Stamp) -> &'static str {
        match &self.record {
            None => "none",
            Some(record) if record.ends_at().is_some_and(|end| end <= now.wall) => "expired",
            Some(_) if self.is_refused() => "refused",
            Some(_) => "valid",
        }
    }

    fn remaining(&self, now: Stamp) -> Option<Millis> {
        let end = self.record.as_ref()?.ends_at()?;
        Some(end.saturating_sub(now.wall))
    }

    fn is_renewable(&self) -> bool {
        self.record.as_ref().is_some_and(TokenRecord::is_renewable)
    }
}

impl TokenRecord {
    /// Its end, in milliseconds since the epoch.
    pub fn ends_at(&self) -> Option<Wall> {
        self.expires_at.map(|seconds| seconds.saturating_mul(SECOND))
    }

    /// Whether the relay renews a token of this kind, as long as it has not ended.
    pub fn is_renewable(&self) -> bool {
        let profile = matches!(self.profile.as_deref(), Some("provider-agent" | "provider-interactive"));
        profile && self.expires_at.is_some()
    }
}

/// How long before its end a token is renewed: 20 % of what remains, at least 60 s, at most 60 min, and never more
/// than half of what remains.
pub fn lead(remaining: Millis) -> Millis {
    (remaining / 5).clamp(MINUTE, 60 * MINUTE).min(remaining / 2)
}

/// How long until a token is renewed that has this long to go. `draw_below` draws a number below its argument; the
/// jitter is up to 30 s, and at most half the lead.
pub fn renewal_in(remaining: Millis, draw_below: impl FnOnce(Millis) -> Millis) -> Millis {
    let lead = lead(remaining);
    let jitter = draw_below((lead / 2).min(30 * SECOND) + 1);
    (remaining - lead).saturating_sub(jitter).max(SECOND)
}

/// How long until a renewal that failed is tried again.
pub fn renewal_again_in(remaining: Millis) -> Millis {
    (remaining / 2).clamp(SECOND, AGAIN_MOST)
}

impl Core {
    /// At the start, and whenever there is another credential.
    pub(crate) fn plan_renewal(&mut self, fx: &mut Effects) {
        self.credential.phase = Phase::Fixed;
        self.deadlines.clear(TimerKey::Renewal);
        let remaining = self.credential.remaining(self.now);
        let Some(remaining) = remaining.filter(|left| *left > 0 && self.credential.is_renewable()) else {
            if remaining.is_some() {
                fx.note(Note::NotRenewable);
            }
            return;
        };
        let (seed, number, tries) = (self.config.seed, self.credential.number, self.credential.tries);
        let always = self.config.is_mutant(Mutant::RenewsAllTheTime);
        let remaining = if always { 0 } else { remaining };
        let wait = renewal_in(remaining, |bound| draw_below(seed, Stream::Renewal, number, tries, bound));
        self.plan_renewal_in(wait);
    }

    fn plan_renewal_in(&mut self, wait: Millis) {
        let due = Stamp::new(self.after(wait), self.now.wall.saturating_add(wait));
        self.credential.phase = Phase::Planned { due };
        // Who was superseded or has taken leave asks for nothing more.
        if !self.believes_less() || !self.is_superseded() && !self.ending.is_leaving() {
            self.deadlines.arm(TimerKey::Renewal, self.now.mono, wait.min(WAIT_MOST));
        }
    }

    /// Its time has come, or a part of a wait that was split.
    pub(crate) fn renewal_due(&mut self, fx: &mut Effects) {
        let Phase::Planned { due } = self.credential.phase else { return };
        if self.now.mono >= due.mono || self.now.wall >= due.wall {
            self.renew_credential(fx);
        } else {
            self.deadlines.arm(TimerKey::Renewal, self.now.mono, (due.mono - self.now.mono).min(WAIT_MOST));
        }
    }

    /// The clocks are looked at: one of them may have jumped over the time of renewal, or over the end.
    pub(crate) fn check_credential(&mut self, fx: &mut Effects) {
        if let Phase::Planned { due } = self.credential.phase
            && self.now.wall >= due.wall
            && !self.ending.is_leaving()
            && !self.is_superseded()
        {
            self.renew_credential(fx);
        }
        let ended = self.credential.remaining(self.now) == Some(0);
        if ended != self.credential.end_is_said {
            self.credential.end_is_said = ended;
            self.credential.version += 1;
            if ended {
                fx.note(Note::CredentialExpired);
            }
        }
    }

    fn renew_credential(&mut self, fx: &mut Effects) {
        self.deadlines.clear(TimerKey::Renewal);
        let jti = self.credential.record.as_ref().and_then(|record| record.jti.clone());
        let op = self.http(Op::RenewToken, Call::RenewToken { jti }, self.config.timing.call_deadline, fx);
        self.credential.phase = Phase::Renewing { op };
    }

    /// A call under the credential in force was refused with 401 or 403.
    pub(crate) fn credential_doubted(&mut self, fx: &mut Effects) {
        match (self.credential.standing, self.credential.phase) {
            // It is the other's to renew.
            (Standing::Good, Phase::Planned { .. }) if !self.is_superseded() => {
                self.credential.standing = Standing::Suspect;
                self.renew_credential(fx);
            }
            (Standing::Good, Phase::Renewing { .. }) => self.credential.standing = Standing::Suspect,
            // Asked before the doubt, as likely as not: the renewal decides about it as well.
            (Standing::Suspect, Phase::Renewing { .. }) | (Standing::Refused, _) => {}
            (Standing::Good | Standing::Suspect, _) => self.credential_is_refused(),
        }
    }

    fn credential_is_refused(&mut self) {
        self.credential.standing = Standing::Refused;
        self.credential.refused_before = self.ops.next_number();
        self.credential.version += 1;
    }

    /// The relay registered us over this connection: the credential that it was opened with is good.
    pub(crate) fn credential_accepted(&mut self, conn: Conn) {
        if conn >= self.credential.first_conn && self.credential.standing != Standing::Good {
            self.credential.standing = Standing::Good;
            self.credential.version += 1;
        }
    }

    /// The relay took a call. One that was asked under the credential since it was refused shows that it is good after
    /// all: what was paused goes on.
    pub(crate) fn call_accepted(&mut self, op: OpId) {
        if self.credential.standing == Standing::Refused && op >= self.credential.refused_before {
            self.credential.standing = Standing::Good;
            self.credential.version += 1;
        }
    }

    /// Whether a refusal of this operation is one of the credential in force.
    pub(crate) fn is_under_credential(&self, op: OpId) -> bool {
        op >= self.credential.first_op || self.config.is_mutant(Mutant::BelievesOldRefusals)
    }

    pub(crate) fn is_connected_under_credential(&self, conn: Conn) -> bool {
        conn >= self.credential.first_conn
    }

    pub(crate) fn credential_answered(&mut self, op: OpId, result: OpResult, fx: &mut Effects) {
        if self.credential.phase != (Phase::Renewing { op }) {
            fx.note(Note::Stale { what: "renewal of the credential", number: op.0 });
            return;
        }
        match result {
            OpResult::Token { slot, record } => self.adopt_token(slot, record, fx),
            OpResult::Failed(failure) => self.renewal_failed(&failure, fx),
            OpResult::Ok
            | OpResult::Said(_)
            | OpResult::Spawned(_)
            | OpResult::Granted { .. }
            | OpResult::Refused { .. }
            | OpResult::Renewed { .. }
            | OpResult::Pruned
            | OpResult::Unread { .. }
            | OpResult::Owed { .. }
            | OpResult::Settings(_) => {
                let failure = Failure { kind: FailureKind::Server, text: "an odd answer to a renewal".into() };
                self.renewal_failed(&failure, fx);
            }
        }
    }

    fn renewal_failed(&mut self, failure: &Failure, fx: &mut Effects) {
        self.credential.tries += 1;
        let id = alloc::format!("renewal-{}-{}", self.credential.number, self.credential.tries);
        self.timeline_of("runtime-token-renewal-failed", id.into());
        if self.credential.standing == Standing::Suspect {
            self.credential_is_refused();
        }
        match self.credential.remaining(self.now) {
            // Nobody said no: the way to the relay may come back later than we do.
            Some(0) if failure.kind.is_unknown() => self.plan_renewal_in(AGAIN_MOST),
            None | Some(0) => self.credential.phase = Phase::Expired,
            Some(remaining) => self.plan_renewal_in(renewal_again_in(remaining)),
        }
        self.check_credential(fx);
        // What waited for the answer goes on, and may be refused again.
        self.credential_goes_on(fx);
    }

    /// A token that somebody handed in.
    pub(crate) fn token_handed_in(
        &mut self,
        request: Option<RequestId>,
        slot: TokenSlot,
        record: TokenRecord,
        fx: &mut Effects,
    ) {
        let ended = record.ends_at().is_some_and(|end| end <= self.now.wall);
        if !ended {
            self.adopt_token(slot, record, fx);
        }
        if let Some(request) = request {
            fx.push(Effect::Answer { request, answer: Answer::Token { accepted: !ended } });
        }
    }

    /// From now on everything is asked with this token.
    fn adopt_token(&mut self, slot: TokenSlot, record: TokenRecord, fx: &mut Effects) {
        let before = self.credential.record.take();
        let profile = record.profile.or_else(|| before.and_then(|before| before.profile));
        let record = TokenRecord { profile, ..record };
        let id = record.jti.clone().unwrap_or_else(|| alloc::format!("token-{}", self.credential.number + 1).into());
        let silent = self.config.is_mutant(Mutant::StaysSilentWhenRenewed);
        self.credential = Credential {
            standing: if silent { self.credential.standing } else { Standing::Good },
            number: self.credential.number + 1,
            first_op: self.ops.next_number(),
            first_conn: self.link.next_conn(),
            version: self.credential.version + 1,
            ..Credential::new(Some(record))
        };
        fx.push(Effect::UseToken { slot });
        fx.note(Note::CredentialRenewed { number: self.credential.number });
        fx.sync = true;
        self.timeline_of("runtime-token-renewed", id);
        self.plan_renewal(fx);
        if !self.ending.is_begun() && !self.config.is_mutant(Mutant::KeepsTheOldConnection) {
            self.reconnect_with_token(fx);
            self.liveness_round(fx);
        }
        self.credential_goes_on(fx);
    }

    fn credential_goes_on(&mut self, fx: &mut Effects) {
        self.touched.reports = true;
        self.touched.inbox = true;
        self.reconnect_if_it_waited(fx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_time(remaining: Millis) -> Millis {
        renewal_in(remaining, |_| 0)
    }

    #[test]
    fn the_lead_follows_what_remains() {
        let hour = 60 * MINUTE;
        assert_eq!(lead(24 * hour), 60 * MINUTE, "at most an hour");
        assert_eq!(lead(hour), 12 * MINUTE, "20 %");
        assert_eq!(lead(3 * MINUTE), MINUTE, "at least a minute");
        assert_eq!(lead(30 * SECOND), 15 * SECOND, "never more than half");
        assert_eq!(lead(0), 0);
    }

    #[test]
    fn a_short_token_is_renewed_once_per_half_life() {
        assert_eq!(in_time(30 * SECOND), 15 * SECOND);
        assert_eq!(renewal_in(30 * SECOND, |bound| bound - 1), 7_500);
        assert_eq!(in_time(1_000), SECOND, "never sooner than a second");
        assert_eq!(in_time(0), SECOND);
    }

    #[test]
    fn a_failed_renewal_is_tried_again_while_there_is_time() {
        assert_eq!(renewal_again_in(10 * MINUTE), MINUTE);
        assert_eq!(renewal_again_in(40 * SECOND), 20 * SECOND);
        assert_eq!(renewal_again_in(1), SECOND);
        assert_eq!(in_time(Millis::MAX), Millis::MAX - 60 * MINUTE);
    }
}
