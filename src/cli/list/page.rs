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

/// What the table shows.
const COLUMNS: [&str; 7] = ["Connection", "Ends", "Ready", "Account", "Contact", "Secret", "KMS"];
/// The column by which it is sorted at first.
const BY_END: usize = 1;

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
                        // For small screens, on which the table has no head to sort by.
                        label.small {
                            "Sort by"
                            select #order {
                                @for (index, name) in COLUMNS.into_iter().enumerate() {
                                    option value=(index) selected[index == BY_END] { (name) }
                                }
                            }
                        }
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
        (count(|row| row.urgency == Urgency::Ended), "with an ended token", "Ended"),
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

/// A table. Its parts say that they are one, as a browser forgets it where a small screen shows rows as cards.
fn table(rows: &[Row]) -> Markup {
    html! {
        table role="table" aria-label="Connections" {
            thead role="rowgroup" {
                tr role="row" {
                    @for (index, name) in COLUMNS.into_iter().enumerate() {
                        th role="columnheader" scope="col" aria-sort=[(index == BY_END).then_some("ascending")] {
                            button type="button" { (name) }
                        }
                    }
                }
            }
            tbody role="rowgroup" { @for row in rows { (line(row)) } }
        }
        @if rows.is_empty() { p { "There are no connections." } }
    }
}

fn line(row: &Row) -> Markup {
    let urgency = format!("{:?}", row.urgency);
    // What nobody knows is sorted last.
    let key = row.day().unwrap_or_else(|| "9999".to_owned());
    html! {
        tr role="row" data-attention=[row.what_to_do.as_ref().map(|_| "yes")] {
            th role="rowheader" scope="row" { (row.name) small { (row.namespace) } }
            td.end .(urgency) role="cell" data-key=(key) data-name="Ends" {
                @match (row.day(), row.left()) {
                    (Some(day), Some(left)) => {
                        @if row.inferred() { span title="the latest day that is possible; no end is declared" { "≤ " (day) } }
                        @else { (day) }
                        small { (left) }
                    }
                    _ => "not known",
                }
            }
            td role="cell" data-name="Ready" {
                span.(row.ready) { (row.ready) }
                @if let Some(what) = &row.what_to_do { small { (what) } }
                @if !row.missing_scopes.is_empty() { small { "Missing: " (row.missing_scopes.join(", ")) } }
            }
            td role="cell" data-name="Account" { (row.account.as_deref().unwrap_or_default()) }
            td role="cell" data-name="Contact" { (row.contact.as_deref().unwrap_or_default()) }
            td role="cell" data-name="Secret" { (row.secret) }
            td role="cell" data-name="KMS" { @if let Some(connection) = &row.connection { (connection) small { (row.kms.as_deref().unwrap_or_default()) } } }
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
