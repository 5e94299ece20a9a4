//! Names that others gave to files, made safe: whoever chose one chooses neither the folder nor what a shell makes of it.

/// Bytes of a safe name.
const NAME_MOST: usize = 120;
/// Bytes of an ending that is kept where a name is cut.
const ENDING_MOST: usize = 16;

/// A name that is one, and only a name. The same for the same name.
pub(super) fn safe(name: &str) -> String {
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    // Neither hidden, nor the folder above, nor an option.
    let plain = plain.trim_start_matches(['.', '-', ' ']).trim_end_matches(['.', ' ']);
    if plain.is_empty() { "file".to_owned() } else { cut(plain) }
}

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || " ._-+,=@".contains(c)
}

fn cut(name: &str) -> String {
    if name.len() <= NAME_MOST {
        return name.to_owned();
    }
    let ending = name.rfind('.').map_or("", |dot| &name[dot..]);
    let ending = if ending.len() <= ENDING_MOST { ending } else { "" };
    let end = name.floor_char_boundary(NAME_MOST - ending.len());
    format!("{}{ending}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_as_it_is_where_it_can() {
        for name in ["a.txt", "Bericht März (x).pdf", "archive.tar.gz", "日本.md"] {
            assert_eq!(safe(name), name.replace(['(', ')'], "_"));
        }
    }

    #[test]
    fn no_name_leaves_its_folder_or_is_hidden_or_an_option() {
        for (name, is) in [
            ("../../etc/passwd", "_.._etc_passwd"),
            ("/etc/passwd", "_etc_passwd"),
            ("..\\x", "_x"),
            ("..", "file"),
            (".", "file"),
            ("", "file"),
            (" . ", "file"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("a\0b\nc\u{202e}d", "a_b_c_d"),
            ("$(id)`x`;'\"", "__id__x____"),
        ] {
            assert_eq!(safe(name), is, "{name:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_and_keeps_its_ending() {
        let long = safe(&format!("{}.tar", "ü".repeat(500)));
        assert!(long.len() <= NAME_MOST && long.len() > NAME_MOST - 4 && long.ends_with("ü.tar"), "{long}");
        let no_ending = safe(&format!("a.{}", "x".repeat(500)));
        assert_eq!(no_ending.len(), NAME_MOST);
        assert_eq!(safe(&long), long);
    }
}
