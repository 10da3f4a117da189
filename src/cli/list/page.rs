//! The list as a page for browsers: one file, without a request to anybody.
//!
//! It is a table that reads well without scripts, to screen readers and on paper; a small script sorts and filters.
//! All texts are escaped by the library; a policy in the page forbids everything that is not in it.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{Timestamp, tz::TimeZone};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::row::{Row, Urgency};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page. `place` is where was looked.
pub(super) fn page(rows: &[Row], place: &str, now: Timestamp) -> String {
    let made = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta http-equiv="Content-Security-Policy" content=(policy());
                title { "Bitbucket tokens in " (place) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Bitbucket tokens in " (place) }
                    p.about { "What ends first comes first. As of " time datetime=(now.to_string()) { (made) } "; days are in UTC." }
                    (counts(rows))
                    form hidden role="search" {
                        label for="search" { "Search" }
                        input #search type="search" autocomplete="off" spellcheck="false"
                            placeholder="namespace, name, account, reason …";
                        label { input #attention type="checkbox"; "Only what needs somebody" }
                        output for="search attention" aria-live="polite" {}
                    }
                    (table(rows))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string() + "\n"
}

/// Nothing from elsewhere, and of scripts and styles these two alone.
fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn counts(rows: &[Row]) -> Markup {
    let count = |of: fn(&Row) -> bool| rows.iter().filter(|row| of(row)).count();
    let counts = [
        (rows.len(), "connections", ""),
        (count(|row| row.urgency == Urgency::Ended), "with a token that has ended", "Ended"),
        (count(|row| row.urgency == Urgency::Soon), "with a token that ends soon", "Soon"),
        (count(|row| row.ready != "True"), "not Ready", "False"),
    ];
    html! {
        ul.counts {
            @for (number, what, class) in counts {
                li { strong class=[(number > 0 && !class.is_empty()).then_some(class)] { (number) } " " (what) }
            }
        }
    }
}

fn table(rows: &[Row]) -> Markup {
    html! {
        table {
            thead {
                tr {
                    @for (index, name) in ["Connection", "Ends", "Ready", "Account", "Contact", "Secret", "KMS"].into_iter().enumerate() {
                        th scope="col" aria-sort=[(index == 1).then_some("ascending")] { button type="button" { (name) } }
                    }
                }
            }
            tbody { @for row in rows { (line(row)) } }
        }
        @if rows.is_empty() { p { "There are no connections." } }
    }
}

fn line(row: &Row) -> Markup {
    let urgency = format!("{:?}", row.urgency);
    let attention = row.ready != "True" || matches!(row.urgency, Urgency::Ended | Urgency::Soon);
    // What nobody knows is sorted last.
    let key = row.day().unwrap_or_else(|| "9999".to_owned());
    html! {
        tr data-attention=[attention.then_some("yes")] {
            th scope="row" { (row.name) small { (row.namespace) } }
            td.end .(urgency) data-key=(key) data-name="Ends" {
                @match (row.day(), row.left()) {
                    (Some(day), Some(left)) => {
                        @if row.inferred() { span title="the latest day that is possible; no end is declared" { "≤ " (day) } }
                        @else { (day) }
                        small { (left) }
                    }
                    _ => "not known",
                }
            }
            td data-name="Ready" {
                span.(row.ready) { (row.ready) }
                @if row.ready != "True" { small { (row.reason) ": " (row.message) } }
                @if !row.missing_scopes.is_empty() { small { "Missing: " (row.missing_scopes.join(", ")) } }
            }
            td data-name="Account" { (row.account.as_deref().unwrap_or_default()) }
            td data-name="Contact" { (row.contact.as_deref().unwrap_or_default()) }
            td data-name="Secret" { (row.secret) }
            td data-name="KMS" { @if let Some(connection) = &row.connection { (connection) small { (row.kms.as_deref().unwrap_or_default()) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::row::tests::{now, row},
        *,
    };

    #[test]
    fn what_people_write_is_text_and_nothing_else() {
        let attack = "<script>alert(1)</script>\" onmouseover=\"alert(2)";
        let change = json!({"spec": {"contact": attack}, "status": {"account": {"username": attack},
            "conditions": [{"type": "Ready", "status": "<b>", "reason": attack, "message": attack,
                "lastTransitionTime": "2026-11-01T00:00:00Z"}]}});
        let page = page(&[row("payments", change)], attack, now());
        assert_eq!(page.matches("<script").count(), 1, "ours");
        assert!(!page.contains("\" onmouseover") && !page.contains("<b>"), "{page}");
    }

    #[test]
    fn nothing_is_asked_of_anybody() {
        let page = page(&[row("payments", json!({}))], "all namespaces", now());
        for way_out in ["http://", "https://", "src=", "href=", "url(", "@import", "fetch("] {
            assert!(!page.contains(way_out), "{way_out}");
        }
    }

    #[test]
    fn the_policy_allows_what_is_in_the_page() {
        let page = page(&[], "all namespaces", now());
        for (text, tag) in [(STYLE, "style"), (SCRIPT, "script")] {
            let hash = STANDARD.encode(Sha256::digest(text));
            assert!(page.contains(&format!("'sha256-{hash}'")) && page.contains(&format!("<{tag}>{text}</{tag}>")));
        }
    }
}
