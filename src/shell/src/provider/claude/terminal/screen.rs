//! What stands on Claude Code's screen, as far as it matters before something is typed: whether its input is there and empty, whether
//! it works, and whether it asks something that only a person may answer.

use serde::{Deserialize, Serialize};

/// A screen, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Screen {
    /// Its input is there.
    Input { empty: bool, works: bool },
    /// A first question: nothing else happens before a person has answered it.
    Question(Question),
    /// Something else has the keys: a permission dialog, a menu, or nothing yet.
    Other,
}

/// What it asks before a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Question {
    Onboarding,
    Trust,
    ApiKey,
    Settings,
    Bypass,
    Login,
}

impl Question {
    /// Known by these words.
    const ALL: [(Self, &'static str); 8] = [
        (Self::Trust, "Is this a project you created or one you trust?"),
        (Self::Trust, "Do you trust the files in this folder?"),
        (Self::ApiKey, "Do you want to use this API key?"),
        (Self::Settings, "Settings Warning"),
        (Self::Bypass, "Bypass Permissions mode"),
        (Self::Login, "Select login method"),
        (Self::Onboarding, "Choose the text style that looks best"),
        (Self::Onboarding, "Unable to connect to Anthropic services"),
    ];

    /// For people: what it asks, and what to do.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Onboarding => {
                "Claude Code was never set up here, and asks its first questions: run `claude` once in a terminal (with the same \
                 CLAUDE_CONFIG_DIR) and answer them"
            }
            Self::Trust => {
                "Claude Code asks whether the folder is trusted: run `claude` in that folder once (with the same CLAUDE_CONFIG_DIR) and \
                 answer; nothing is approved on your behalf"
            }
            Self::ApiKey => {
                "Claude Code asks whether to use the key in ANTHROPIC_API_KEY: run `claude` once with it (and the same \
                 CLAUDE_CONFIG_DIR) and answer"
            }
            Self::Settings => {
                "Claude Code warns of its settings and waits: run `claude` in that folder once, read what it says, and mend the file"
            }
            Self::Bypass => {
                "Claude Code asks whether to work without any permission: run `claude` once with the same options and answer"
            }
            Self::Login => {
                "Claude Code is not logged in: run `claude` once (with the same CLAUDE_CONFIG_DIR) and log in, or set ANTHROPIC_API_KEY"
            }
        }
    }
}

const PROMPT: char = '❯';
const SHELL: char = '!';
const RULE: char = '─';
/// Lines that may stand below the input.
const BELOW_MOST: usize = 12;
/// What stands before the word for what it does, of which nothing else begins a line.
const SPINNERS: [char; 5] = ['✢', '✳', '✶', '✻', '✽'];
/// What a dialog has below it, and an input never.
const ASKS: [&str; 2] = ["❯ 1.", "Esc to cancel"];

/// Reads what `capture-pane -p -e` gives: with colours, as words of its own that Claude Code shows in the input are only dimmer.
pub(crate) fn read(screen: &str) -> Screen {
    let (whole, solid) = plain(screen);
    let both = whole.lines().zip(solid.lines()).filter(|(line, _)| !line.trim().is_empty());
    let (lines, solid): (Vec<&str>, Vec<&str>) = both.map(|(line, solid)| (line.trim_end(), solid)).unzip();
    if let Some(input) = input(&lines, &solid) {
        return input;
    }
    let asked = Question::ALL.iter().find(|(_, words)| whole.contains(words));
    asked.map_or(Screen::Other, |(question, _)| Screen::Question(*question))
}

/// The input: lines between the last two rules, of which the first begins with its mark.
fn input(lines: &[&str], solid: &[&str]) -> Option<Screen> {
    let is_rule = |line: &&str| line.chars().all(|c| c == RULE) && line.chars().count() > 8;
    let end = lines.iter().rposition(is_rule)?;
    let below = &lines[end + 1..];
    if below.len() > BELOW_MOST || below.iter().any(|line| ASKS.iter().any(|words| line.contains(words))) {
        return None;
    }
    let start = lines[..end].iter().rposition(is_rule)?;
    let (first, more) = lines[start + 1..end].split_first()?;
    let text = first.strip_prefix(PROMPT);
    if text.is_none() && !first.starts_with(SHELL) {
        return None;
    }
    let typed = solid.get(start + 1).and_then(|line| line.strip_prefix(PROMPT));
    let empty = more.is_empty() && text.is_some() && typed.is_some_and(|text| text.trim().is_empty());
    let above = &lines[..start];
    let works = lines[end..].iter().any(|line| line.contains("esc to interrupt"))
        || above.iter().rev().take(6).any(|line| line.starts_with(SPINNERS) && line.contains('…'));
    Some(Screen::Input { empty, works })
}

/// The same without colours; and once more with spaces in the place of what is dim, and of the cursor where that stands on it.
fn plain(screen: &str) -> (String, String) {
    let (mut whole, mut solid) = (String::new(), String::new());
    for (n, line) in screen.split('\n').enumerate() {
        if n > 0 {
            whole.push('\n');
            solid.push('\n');
        }
        let (mut style, mut cursor) = (Style::default(), None);
        let mut parts = line.split('\u{1b}');
        let first = parts.next().unwrap_or_default();
        whole.push_str(first);
        solid.push_str(first);
        for part in parts {
            let (codes, text) = part.strip_prefix('[').and_then(|part| part.split_once('m')).unwrap_or(("", part));
            style.takes(codes);
            whole.push_str(text);
            if style.dim {
                if let Some(at) = cursor.take() {
                    solid.truncate(at);
                    solid.push(' ');
                }
                solid.extend(text.chars().map(|_| ' '));
            } else {
                cursor = (style.inverse && text.chars().count() == 1).then_some(solid.len());
                solid.push_str(text);
            }
        }
    }
    (whole, solid)
}

#[derive(Debug, Default)]
struct Style {
    dim: bool,
    inverse: bool,
}

impl Style {
    fn takes(&mut self, codes: &str) {
        let mut codes = codes.split([';', ':']);
        while let Some(code) = codes.next() {
            match code {
                "" | "0" => *self = Self::default(),
                "2" => self.dim = true,
                "7" => self.inverse = true,
                "22" => self.dim = false,
                "27" => self.inverse = false,
                // The numbers of a colour are no codes.
                "38" | "48" | "58" => {
                    let more = if codes.next() == Some("5") { 1 } else { 3 };
                    codes.by_ref().take(more).for_each(drop);
                }
                _ => {}
            }
        }
    }
}

/// The last words on it, for people: why a program ended.
pub(crate) fn last_words(screen: &str) -> String {
    let (screen, _) = plain(screen);
    let said = |line: &&str| line.chars().any(char::is_alphanumeric) && !line.starts_with("Pane is dead");
    let lines: Vec<&str> = screen.lines().map(str::trim).filter(said).collect();
    lines[lines.len().saturating_sub(2)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "────────────────────────────────";

    fn boxed(above: &str, text: &str, below: &str) -> String {
        format!("{above}\n\n{RULES}\n{text}\n{RULES}\n{below}\n\n\n")
    }

    #[test]
    fn an_input_is_empty_or_not_and_it_works_or_not() {
        let idle = "  ⏸ manual mode on · ? for shortcuts";
        let read = |above, text, below| read(&boxed(above, text, below));
        assert_eq!(
            read("● TOOL-DONE\n✻ Worked for 0s · done 2:18 PM", "❯ ", idle),
            Screen::Input { empty: true, works: false }
        );
        assert_eq!(read("● well", "❯\u{a0}half typed", idle), Screen::Input { empty: false, works: false });
        assert_eq!(read("● well", "❯ one\n  two", idle), Screen::Input { empty: false, works: false });
        assert_eq!(read("x", "! ", "  ! for shell mode"), Screen::Input { empty: false, works: false });
        let busy = "  ⏸ manual mode on · esc to interrupt";
        assert_eq!(read("x", "❯", busy), Screen::Input { empty: true, works: true });
        let spins = "✢ Deciphering… (1s · ↓ 20 tokens)\n  ⎿  Tip: Press Enter";
        assert_eq!(read(spins, "❯ half typed", "  ⏸ manual mode on"), Screen::Input { empty: false, works: true });
    }

    #[test]
    fn dim_words_in_the_input_are_nobodys() {
        let idle = "  ⏸ manual mode on";
        let read = |text: &str| read(&boxed("● x", text, idle));
        let empty = Screen::Input { empty: true, works: false };
        assert_eq!(read("❯ \u{1b}[7mR\u{1b}[0;2mesend your message to try again\u{1b}[0m"), empty);
        assert_eq!(read("\u{1b}[38;5;2m❯\u{1b}[39m \u{1b}[2mTry \"fix lint errors\"\u{1b}[0m"), empty);
        assert_eq!(read("❯ \u{1b}[7m \u{1b}[0m"), empty);
        let typed = Screen::Input { empty: false, works: false };
        assert_eq!(read("❯ \u{1b}[38;2;2;2;2mwords\u{1b}[0m\u{1b}[7m \u{1b}[0m"), typed);
        assert_eq!(read("❯ word\u{1b}[7ms\u{1b}[0m"), typed);
        assert_eq!(read("❯ x\u{1b}[2m and a hint\u{1b}[0m"), typed);
    }

    #[test]
    fn a_dialog_has_no_input() {
        let below = format!("{RULES}\n❯ x\n{RULES}\n Do you want to proceed?\n ❯ 1. Yes\n   2. No\n");
        assert_eq!(read(&below), Screen::Other);
        let dialog = format!(
            "{RULES}\n Bash command\n touch here\n Do you want to proceed?\n ❯ 1. Yes\n   2. No\n Esc to cancel · Tab to amend\n"
        );
        assert_eq!(read(&dialog), Screen::Other);
        assert_eq!(read(""), Screen::Other);
        // Marks in what the agent printed are no input.
        assert_eq!(read(&format!("{RULES}\n❯ a\n{RULES}\n{}", "1\n".repeat(13))), Screen::Other);
    }

    #[test]
    fn first_questions_are_known_and_say_what_to_do() {
        let shown = "Quick safety check: Is this a project you created or one you trust?\n ❯ 1. No, exit\n   2. Yes, I trust this folder";
        assert_eq!(read(shown), Screen::Question(Question::Trust));
        for (question, words) in Question::ALL {
            assert_eq!(read(&format!("┃ {words}\n❯ 1. No")), Screen::Question(question));
            assert!(question.words().contains("run `claude`"), "{question:?}");
        }
        // What an agent prints in a session is no question.
        assert_eq!(read(&boxed("Select login method", "❯ ", "")), Screen::Input { empty: true, works: false });
    }

    #[test]
    fn the_last_words_are_for_people() {
        let screen = "x\nNo conversation found with session ID: 1\n\n──────\nPane is dead (status 1, Sat)\n";
        assert_eq!(last_words(screen), "x | No conversation found with session ID: 1");
    }
}
