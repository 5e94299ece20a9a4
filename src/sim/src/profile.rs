//! A profile: what is set of a plan by hand, instead of being drawn from its seed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::Millis;

/// What a user wants to see much of. Whatever is not said is drawn, as it is without a profile: but for the couples of
/// faults that are made to meet, which are drawn only without one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// How likely each group of faults is, against the others; a group that is not named does not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<BTreeMap<Group, u32>>,
    /// How long things go wrong, in virtual hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<f64>,
    /// How many things are wanted by people and other agents, at least and at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<[u64; 2]>,
    /// How many things go wrong, at least and at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<[u64; 2]>,
}

/// A group of faults, which is switched on and off as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    PoisonMessages,
    ClaimsOfOthers,
    DeletesAndCancels,
    Relabels,
    RelayOutages,
    RelayForgets,
    Credentials,
    Breaks,
    HalfOpen,
    Cuts,
    SlowNetwork,
    Calls,
    Frames,
    ProviderDeaths,
    ProviderStarts,
    Turns,
    Offers,
    ProviderActs,
    LostReports,
    ProviderQuirks,
    Noise,
    KillsAndDisks,
    Clocks,
    OrdersAndRivals,
}

impl Group {
    /// In the order of the numbers that plans draw them by.
    pub const ALL: [Self; 24] = [
        Self::PoisonMessages,
        Self::ClaimsOfOthers,
        Self::DeletesAndCancels,
        Self::Relabels,
        Self::RelayOutages,
        Self::RelayForgets,
        Self::Credentials,
        Self::Breaks,
        Self::HalfOpen,
        Self::Cuts,
        Self::SlowNetwork,
        Self::Calls,
        Self::Frames,
        Self::ProviderDeaths,
        Self::ProviderStarts,
        Self::Turns,
        Self::Offers,
        Self::ProviderActs,
        Self::LostReports,
        Self::ProviderQuirks,
        Self::Noise,
        Self::KillsAndDisks,
        Self::Clocks,
        Self::OrdersAndRivals,
    ];

    /// What it brings about.
    pub const fn about(self) -> &'static str {
        match self {
            Self::PoisonMessages => "messages that no adapter can hand over",
            Self::ClaimsOfOthers => "others claim, release and finish messages",
            Self::DeletesAndCancels => "messages are deleted, tasks cancelled",
            Self::Relabels => "the agent gets another label",
            Self::RelayOutages => "the relay is down, busy, or answers 500",
            Self::RelayForgets => "the relay forgets agents, events, or everything",
            Self::Credentials => "tokens are revoked or refused",
            Self::Breaks => "connections break",
            Self::HalfOpen => "connections are dead, and nobody says so",
            Self::Cuts => "nothing comes through for a time",
            Self::SlowNetwork => "everything takes longer for a time",
            Self::Calls => "calls, or their answers, are lost, late, doubled, refused",
            Self::Frames => "frames are lost, late, doubled, garbled",
            Self::ProviderDeaths => "the provider's process ends, in all ways",
            Self::ProviderStarts => "its starts fail, hang, or come to nothing",
            Self::Turns => "turns fail, hang, are interrupted, or never begin",
            Self::Offers => "what is handed over fails, hangs, or is lost",
            Self::ProviderActs => "other operations of the provider fail or hang",
            Self::LostReports => "reports of the provider are lost or late",
            Self::ProviderQuirks => "it ignores what it is told, floods, is answered in its terminal",
            Self::Noise => "it says what is late, made up, or of somebody else",
            Self::KillsAndDisks => "runners are killed, the power fails, disks are full",
            Self::Clocks => "clocks are set, drift and jump; the machine sleeps",
            Self::OrdersAndRivals => "signals, shutdowns, restarts, and another instance",
        }
    }

    /// As it is written in a profile.
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).unwrap_or_default();
        name.as_str().unwrap_or_default().to_owned()
    }
}

/// A virtual year.
const MOST_HOURS: f64 = 8_760.0;
/// Steps of one kind in a plan.
const MOST_STEPS: u64 = 100_000;

impl Profile {
    /// What JSON says, if plans can be made of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let profile: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        profile.check()?;
        Ok(profile)
    }

    /// Whether plans can be made of it, or why not.
    pub fn check(&self) -> Result<(), String> {
        if self.hours.is_some_and(|hours| !(hours > 0.0 && hours <= MOST_HOURS)) {
            return Err(format!("hours are a number above 0, and at most {MOST_HOURS}"));
        }
        for (name, range) in [("work", self.work), ("faults", self.faults)] {
            if let Some([least, most]) = range
                && (least > most || most > MOST_STEPS)
            {
                return Err(format!(
                    "`{name}` is [least, most], the first not above the second, and both at most {MOST_STEPS}"
                ));
            }
        }
        if self.weights.as_ref().is_some_and(|weights| weights.values().all(|weight| *weight == 0))
            && self.faults.is_some_and(|[least, _]| least > 0)
        {
            return Err("`faults` are wanted, and `weights` leaves no group that they could come from".to_owned());
        }
        Ok(())
    }

    pub(crate) fn calm(&self) -> Option<Millis> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a year")]
        self.hours.map(|hours| ((hours * 3_600_000.0) as Millis).max(1))
    }

    pub(crate) fn weights(&self) -> Option<[u64; Group::ALL.len()]> {
        let named = self.weights.as_ref()?;
        Some(Group::ALL.map(|group| named.get(&group).copied().map_or(0, u64::from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_its_place_and_a_name() {
        for (n, group) in Group::ALL.into_iter().enumerate() {
            assert_eq!(group as usize, n, "{group:?}");
            assert!(!group.name().is_empty() && !group.name().contains('_'), "{group:?}");
        }
    }

    #[test]
    fn a_profile_is_refused_with_what_is_wrong() {
        let wrong = |text| Profile::parse(text).unwrap_err();
        let said = wrong(r#"{"weights": {"breaks": 1, "gremlins": 2}}"#);
        for group in Group::ALL {
            assert!(said.contains("gremlins") && said.contains(&group.name()), "{said}");
        }
        assert!(wrong(r#"{"gremlins": 2}"#).contains("gremlins"));
        assert!(wrong(r#"{"hours": 0}"#).contains("hours"));
        assert!(wrong(r#"{"hours": 1e9}"#).contains("hours"));
        assert!(wrong(r#"{"work": [3, 2]}"#).contains("work"));
        assert!(wrong(r#"{"weights": {}, "faults": [1, 2]}"#).contains("weights"));
        assert!(wrong("").contains("EOF"));
        assert_eq!(Profile::parse("{}"), Ok(Profile::default()));
    }
}
