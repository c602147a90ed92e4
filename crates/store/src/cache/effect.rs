//! Which statements matter to what is remembered, as far as their text tells.
//!
//! Whoever writes a statement need not know of caches: what is not listed here makes everything forgotten. That is
//! right but wasteful for what happens often; such writes name their [`super::Tag`]s instead.

/// What a statement does to what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Nothing,
    /// Everything has to be read again.
    Everything,
}

/// Tables of which nothing is remembered.
const NOT_REMEMBERED: [&str; 3] = ["settings", "oauth_codes", "share_codes"];
/// Tables whose new rows change nothing that is remembered: that something is missing is not remembered, and a new
/// row has nobody yet who depends on it.
const NEW_ROWS_ARE_FINE: [&str; 3] = ["api_tokens", "sessions", "users"];

pub(super) fn effect(sql: &str) -> Effect {
    let mut words = sql.split_ascii_whitespace();
    let (first, second) = (words.next(), words.next());
    let nothing = match (first, second) {
        (Some("SELECT"), _) => true,
        (Some("UPDATE"), Some(table)) => NOT_REMEMBERED.contains(&table),
        (Some("DELETE"), Some("FROM")) => words
            .next()
            .is_some_and(|table| NOT_REMEMBERED.contains(&table)),
        (Some("INSERT"), Some("INTO")) => words.next().is_some_and(|table| {
            NOT_REMEMBERED.contains(&table)
                || (NEW_ROWS_ARE_FINE.contains(&table) && !sql.contains("DO UPDATE"))
        }),
        _ => false,
    };
    if nothing {
        Effect::Nothing
    } else {
        Effect::Everything
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_harmless_is_passed_over() {
        let check = |sql: &str, expected: Effect| assert_eq!(effect(sql), expected, "{sql}");
        check("SELECT 1", Effect::Nothing);
        check(
            "INSERT INTO api_tokens (prefix) VALUES ($1)",
            Effect::Nothing,
        );
        check(
            "INSERT INTO users (name) VALUES ($1) ON CONFLICT (name) DO NOTHING",
            Effect::Nothing,
        );
        check(
            "DELETE FROM oauth_codes WHERE code_hash = $1",
            Effect::Nothing,
        );
        for sql in [
            "INSERT INTO roles (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET scopes = $2",
            "INSERT INTO user_groups (user_id) VALUES ($1)",
            "INSERT OR REPLACE INTO settings (key) VALUES ($1)",
            "UPDATE users SET admin = $1",
            "DELETE FROM api_tokens WHERE id = $1",
            "DELETE FROM shares",
            "WITH a AS (SELECT 1) UPDATE users SET admin = TRUE",
            "insert into settings (key) values ($1)",
            "DROP TABLE users",
            "",
        ] {
            check(sql, Effect::Everything);
        }
    }
}
