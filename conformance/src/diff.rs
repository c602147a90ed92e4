//! Compares what two hubs answered, exchange by exchange: statuses, redirects, headers, cookies, shapes of JSON.
//!
//! What is different each time (names, ids, times, ports, tokens) is not compared.

mod exchange;
mod shape;

use std::collections::BTreeMap;

use crate::case::{Exchange, Record};
use crate::diff::exchange::{Known, compare};
use crate::diff::shape::Words;
use crate::runner::Outcome;

/// Prints where the second hub's answers differ from the first one's.
pub(crate) fn print(ours: &[Outcome<'_>], theirs: &[Outcome<'_>]) {
    let mut differing = 0;
    let mut exchanges = 0;
    let mut known: BTreeMap<Known, usize> = BTreeMap::new();
    // The same line for many cases is told once, with the number of exchanges.
    let mut lines: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (left, right) in ours.iter().zip(theirs) {
        let mut is_different = false;
        let mut tell = |place: &str, text: String| {
            is_different = true;
            let entry = lines
                .entry(text)
                .or_insert_with(|| (0, format!("{} · {place}", left.entry)));
            entry.0 += 1;
        };
        let sides =
            [left, right].map(|outcome| (outcome.record.clone(), Words::new(&outcome.record)));
        let [ours, theirs] = &sides;
        for (index, (left, right)) in pairs(ours, theirs).into_iter().enumerate() {
            exchanges += 1;
            let place = format!("{} {} (exchange {})", right.0.method, right.1, index + 1);
            if left.0.method != right.0.method || left.1 != right.1 {
                tell(
                    &place,
                    format!(
                        "the cases part here: ours asked {} {}",
                        left.0.method, left.1
                    ),
                );
                break;
            }
            let found = compare(&left.0.answer, &right.0.answer, left.2, right.2);
            for text in found.differences {
                tell(&place, text);
            }
            for reason in found.known {
                *known.entry(reason).or_default() += 1;
            }
        }
        differing += usize::from(is_different);
    }
    println!("\nWhere the answers differ (ours, then JupyterHub's), each with the first place:\n");
    for (text, (count, place)) in &lines {
        println!("{text}\n    {count} times, first: {place}");
    }
    println!(
        "\n{exchanges} exchanges compared; {} kinds of differences in {differing} cases",
        lines.len()
    );
    for (reason, count) in known {
        println!("not shown, {count} times: {reason}");
    }
}

/// An exchange, its path without what is different each time, and the words to leave out.
type Side<'r> = (&'r Exchange, String, &'r Words);

/// The exchanges of two runs of a case, side by side.
fn pairs<'r>(left: &'r (Record, Words), right: &'r (Record, Words)) -> Vec<(Side<'r>, Side<'r>)> {
    let side = |(record, words): &'r (Record, Words)| {
        record
            .exchanges
            .iter()
            .map(move |exchange| (exchange, words.general(&exchange.path), words))
            .collect::<Vec<Side<'r>>>()
    };
    side(left).into_iter().zip(side(right)).collect()
}
