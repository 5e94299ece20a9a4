//! What must hold in every run, in a sentence each: the numbers that [`Broken`](crate::Broken) names.

/// What an invariant demands. Empty: there is none of this number.
pub const fn demands(number: u8) -> &'static str {
    match number {
        1 => "At most one live generation at any time; none after the end.",
        2 => {
            "No message is taken twice by one provider session, except after a reported ambiguity; a redelivery to a later \
             one is marked."
        }
        3 => "No won task is lost.",
        4 => "`done` is reported only for a task whose turn ended normally after its message was taken.",
        5 => "Nothing is reported for a task under a lease that lapsed or was lost, nor under an old fence.",
        6 => "Every command addressed to us gets exactly one outcome, reported at least once.",
        7 => "After the end: nothing armed, nothing sent.",
        8 => "Convergence: the relay's view equals the runner's within 180 virtual seconds after the last fault.",
        9 => "Restarts and reconnects respect their bounds; a new process is given the conversation of the last.",
        10 => "Same configuration and inputs, same effects; a retry is the same request.",
        11 => "Every container is bounded.",
        12 => "No effect, note or record holds a planted secret.",
        13 => "No silent stuck state.",
        _ => "",
    }
}

/// How many there are, counted from 1.
pub const COUNT: u8 = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_demands_something_and_no_other_does() {
        assert!((1..=COUNT).all(|number| demands(number).ends_with('.')));
        assert!(demands(0).is_empty() && demands(COUNT + 1).is_empty());
    }
}
