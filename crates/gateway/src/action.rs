//! What a person does, as far as bytes show it: apart from what an open page sends by itself.
//!
//! A hint for whoever decides about idle servers, and no more. Bodies are not looked at, frames not parsed.

use crate::head::Field;

/// Tells whether a request that has succeeded is a person's doing.
///
/// Reading is not, as open pages ask for lists all the time; but to open a page is (`Sec-Fetch-User`). JupyterLab and Notebook also write by themselves: the layout
/// every ten seconds, and a document that has changed, be it by a kernel's output, every two minutes. What is saved by
/// hand gets a checkpoint, too, which is a `POST`.
pub(crate) fn is_action(method: &str, path: &str, fields: &[Field<'_>]) -> bool {
    match method {
        "GET" => fields.iter().any(|field| {
            field.name.len() == 14 && field.name.eq_ignore_ascii_case("sec-fetch-user")
        }),
        "HEAD" | "OPTIONS" => false,
        "PUT" => !path.contains("/lab/api/workspaces") && !path.contains("/api/contents/"),
        _ => true,
    }
}

/// Tells whether bytes of a client are control frames of a WebSocket and nothing else (RFC 6455 §5.5): whole pings,
/// pongs and closes, which browsers send without their page.
///
/// Looks at the first bytes of what came in one piece. In the middle of a frame they mean nothing, but then their
/// length hardly ever fits.
pub(crate) fn is_only_control(mut bytes: &[u8]) -> bool {
    loop {
        let &[first, second, ..] = bytes else {
            return bytes.is_empty();
        };
        // The last of its message, of a kind from 8 to 10, masked, and of 125 bytes at most.
        let length = second & 0x7f;
        if !(0x88..=0x8a).contains(&first) || second & 0x80 == 0 || length > 125 {
            return false;
        }
        let Some(rest) = bytes.get(6 + usize::from(length)..) else {
            return false;
        };
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_an_open_page_does_by_itself_is_no_action() {
        let check = |method: &str, path: &str, expected: bool| {
            assert_eq!(is_action(method, path, &[]), expected, "{method} {path}");
        };
        check("GET", "/user/ada/api/kernels", false);
        check("HEAD", "/user/ada/api/kernels", false);
        check("PUT", "/user/ada/lab/api/workspaces/default", false);
        check("PUT", "/user/ada/api/contents/Untitled.ipynb", false);
        check(
            "POST",
            "/user/ada/api/contents/Untitled.ipynb/checkpoints",
            true,
        );
        check("POST", "/user/ada/api/sessions", true);
        check("DELETE", "/user/ada/api/kernels/1", true);
        check("PATCH", "/user/ada/api/contents/a", true);
        check("PUT", "/user/ada/lab/api/settings/x", true);
        check("POST", "/user/ada/rpc/console_input", true);
        let clicked = Field {
            name: "Sec-Fetch-User",
            value: b"?1",
        };
        assert!(is_action("GET", "/user/ada/lab", &[clicked]));
    }

    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let length = u8::try_from(payload).unwrap();
        let mut frame = vec![first, 0x80 | length, 1, 2, 3, 4];
        frame.resize(6 + payload, 0x55);
        frame
    }

    #[test]
    fn pings_and_pongs_are_no_action_and_data_are() {
        for first in [0x88, 0x89, 0x8a] {
            assert!(is_only_control(&frame(first, 0)));
            assert!(is_only_control(&frame(first, 125)));
        }
        let two = [frame(0x8a, 4), frame(0x89, 0)].concat();
        assert!(is_only_control(&two));
        let with_data = [frame(0x8a, 4), frame(0x81, 3)].concat();
        assert!(!is_only_control(&with_data));
        for first in [0x00, 0x01, 0x02, 0x81, 0x82, 0xc1, 0xc2] {
            assert!(!is_only_control(&frame(first, 8)));
        }
        // From a server, or cut.
        assert!(!is_only_control(&[0x89, 0x00]));
        assert!(!is_only_control(&[0x89]));
        assert!(!is_only_control(&[0x89, 0x84, 0, 0, 0, 0, 1]));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>) {
            let _ = is_only_control(&bytes);
        }
    }
}
