//! Names of servers as people see them.

use thiserror::Error;
use unicode_normalization::UnicodeNormalization as _;

/// The most characters of a name that is shown.
const MAX_CHARS: usize = 255;

/// Why a text cannot be the shown name of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DisplayNameError {
    /// It has no characters, or too many.
    #[error("`display_name` must have 1 to {MAX_CHARS} characters")]
    Length,
    /// It has characters that are not shown, or spaces where they are not seen.
    #[error(
        "`display_name` must not have control characters, nor spaces at its ends or next to each other"
    )]
    Invisible,
}

/// Checks the shown name of a server and brings it into the form in which it is stored (Unicode NFC).
pub fn display_name(text: &str) -> Result<String, DisplayNameError> {
    let name: String = text.nfc().take(MAX_CHARS + 1).collect();
    if name.is_empty() || name.chars().count() > MAX_CHARS {
        return Err(DisplayNameError::Length);
    }
    let spaces = name.trim() != name || name.contains("  ");
    if spaces || name.chars().any(is_invisible) {
        return Err(DisplayNameError::Invisible);
    }
    Ok(name)
}

/// Controls, those of the direction of writing among them, and spaces other than the usual one.
fn is_invisible(c: char) -> bool {
    let format = matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || format || (c.is_whitespace() && c != ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_composed_and_visible() {
        assert_eq!(
            display_name("e\u{301}t\u{e9} 1").as_deref(),
            Ok("\u{e9}t\u{e9} 1")
        );
        assert_eq!(
            display_name(&"x".repeat(255)).map(|name| name.len()),
            Ok(255)
        );
        for wrong in ["", &"x".repeat(256)] {
            assert_eq!(display_name(wrong), Err(DisplayNameError::Length));
        }
        for wrong in [
            " a",
            "a ",
            "a  b",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{a0}b",
            "\0",
        ] {
            assert_eq!(
                display_name(wrong),
                Err(DisplayNameError::Invisible),
                "{wrong:?}"
            );
        }
    }
}
