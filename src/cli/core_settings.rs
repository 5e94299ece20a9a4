//! What the core decides with, from all that is given: delivery, restarts, spans and bounds.

use super::config_keys::{self as keys, BuiltIn, Entry};
use super::failure::Failure;
use super::given::{Given, boolean, word, wrong};
use super::span;
use relay_runner_core::Config;
use relay_runner_core::config::{Delivery, MarkRead, OnGiveUp};
use relay_runner_core::restart;

const WAYS: [(&str, Delivery); 3] =
    [("queue", Delivery::Queue), ("steer", Delivery::Steer), ("interrupt", Delivery::Interrupt)];
const MARKS: [(&str, MarkRead); 2] = [("worked", MarkRead::Worked), ("taken", MarkRead::Taken)];
const ENDS: [(&str, OnGiveUp); 2] = [("exit", OnGiveUp::Exit), ("park", OnGiveUp::Park)];

/// Changes what is said, and leaves the rest. Fails when the provider could never be given up.
pub(crate) fn read(config: &mut Config, given: &Given<'_>) -> Result<(), Failure> {
    if let Some(delivery) = given.parsed(keys::DELIVER, word(&WAYS))? {
        config.delivery = delivery;
    }
    if let Some(mark) = given.parsed(keys::MARK_READ, word(&MARKS))? {
        config.mark_read = mark;
    }
    if let Some(end) = given.parsed(keys::ON_GIVE_UP, word(&ENDS))? {
        config.on_give_up = end;
    }
    if let Some(wait) = given.switch(keys::WAIT_FOR_USAGE)? {
        config.wait_for_usage_limit = wait;
    }
    if let Some(on) = given.switch(keys::RELAY_CONTEXT)? {
        config.relay_context = on;
    }
    for entry in keys::all() {
        figure(config, entry, given)?;
    }
    // Yes or no, or for how long.
    if let Some((text, source)) = given.text(keys::FAIL_FAST)? {
        if let Ok(on) = boolean(&text) {
            config.fail_fast = on;
        } else {
            let why = |why| wrong(&source, &format!("`{text}` cannot be taken: {why}, or true or false"));
            config.timing.fail_fast = span::millis(span::parse(&text).map_err(why)?);
            config.fail_fast = true;
        }
    }
    if restart::can_give_up(&config.timing, &config.limits) { Ok(()) } else { Err(never_given_up(config, given)?) }
}

fn figure(config: &mut Config, entry: &Entry, given: &Given<'_>) -> Result<(), Failure> {
    const FITS: &str = "it is within the bounds of its kind";
    let number = || given.parsed(entry.key, |text| entry.kind.count(text));
    match entry.built_in {
        BuiltIn::Timing(place) => {
            if let Some(millis) = given.parsed(entry.key, |text| entry.kind.span(text))? {
                *place(&mut config.timing) = millis;
            }
        }
        BuiltIn::Size(place) => {
            if let Some(number) = number()? {
                *place(&mut config.limits) = usize::try_from(number).expect(FITS);
            }
        }
        BuiltIn::Number(place) => {
            if let Some(number) = number()? {
                *place(&mut config.limits) = u32::try_from(number).expect(FITS);
            }
        }
        BuiltIn::Bytes(place) => {
            if let Some(number) = number()? {
                *place(&mut config.limits) = number;
            }
        }
        BuiltIn::Text(_) | BuiltIn::Switch(_) | BuiltIn::List(_) | BuiltIn::None { .. } => {}
    }
    Ok(())
}

fn never_given_up(config: &Config, given: &Given<'_>) -> Result<Failure, Failure> {
    let mut said = Vec::new();
    for entry in keys::all().filter(|entry| entry.section() == "restart" && !entry.name().starts_with("usage_limit_")) {
        if let Some((_, source)) = given.said(entry.key)? {
            said.push(source.to_string());
        }
    }
    let (timing, exits) = (&config.timing, config.limits.restart_exits);
    Ok(Failure::usage(
        "configuration",
        format!(
            "{}: with exits = {exits}, unit = {}, max = {}, window = {} and stable = {} a provider that dies at once is restarted \
             for ever: it never ends more than {exits} times within the window. Fewer exits, shorter waits or a longer window \
             give it up",
            said.join(", "),
            span::words(timing.restart_unit),
            span::words(timing.restart_max),
            span::words(timing.restart_window),
            span::words(timing.restart_stable),
        ),
    ))
}
