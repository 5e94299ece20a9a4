//! A panic in a run is something that the run has shown, and no reason to end a batch.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static CATCHES: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// What it gives, or the words of its panic, with the place in the code. Nothing is printed meanwhile.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if CATCHES.get() {
                let place = panic.location().map(|place| format!(" ({}, line {})", place.file(), place.line()));
                PLACE.set(place);
            } else {
                before(panic);
            }
        }));
    });
    let before = CATCHES.replace(true);
    let ended = catch_unwind(AssertUnwindSafe(work));
    CATCHES.set(before);
    ended.map_err(|panic| {
        let words = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        // Before the colon is what makes it this failure and not another.
        format!("the core panicked{}: {words}", PLACE.take().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_place_and_words() {
        assert_eq!(caught(|| 7), Ok(7));
        let words = caught(|| -> u8 { panic!("number {}", 7) }).unwrap_err();
        assert!(words.starts_with("the core panicked (") && words.contains("caught.rs, line "), "{words}");
        assert!(words.ends_with("): number 7"), "{words}");
    }
}
