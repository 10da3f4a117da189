//! The list as a person reads it on a screen.

use super::row::{Row, Urgency};
use crate::cli::screen::{Cell, Screen, Tone, header, plain};

/// How many columns a sentence takes at least, if it is to be read.
const SENTENCE: usize = 36;
/// The columns that a narrow screen has room for, too: all but account, contact and what to do.
const FEW: usize = 5;

/// The whole output. Where there is no room for what to do in the table, that stands below it.
pub(super) fn text(rows: &[Row], screen: Screen) -> String {
    let head = header(["NAMESPACE", "NAME", "ENDS", "LEFT", "READY", "ACCOUNT", "CONTACT", "WHAT TO DO"]);
    let mut cells: Vec<Vec<Cell>> = [head].into_iter().chain(rows.iter().map(row)).collect();
    let columns = cells[0].len();
    let width = |column: usize| cells.iter().map(|row| row[column].0.chars().count()).max().unwrap_or_default();
    let names: usize = (0..columns - 1).map(|column| width(column) + 2).sum();
    let beside = rows.iter().all(|row| row.what_to_do.is_none()) || names + SENTENCE <= screen.width();
    let kept = match beside {
        true => columns,
        false if names <= screen.width() => columns - 1,
        false => FEW,
    };
    cells.iter_mut().for_each(|row| row.truncate(kept));
    let mut parts = vec![screen.table(cells)];
    if !beside {
        let todo = |row: &Row| {
            let what = row.what_to_do.as_deref()?;
            Some(vec![plain(format!("{}/{}", row.namespace, row.name)), plain(what)])
        };
        parts
            .push(screen.table([header(["CONNECTION", "WHAT TO DO"])].into_iter().chain(rows.iter().filter_map(todo))));
    }
    parts.push(screen.text(summary(rows), Tone::Plain));
    parts.join("\n")
}

fn row(row: &Row) -> Vec<Cell> {
    let or_dash = |text: &Option<String>| plain(text.as_deref().filter(|text| !text.is_empty()).unwrap_or("–"));
    let tone = match row.urgency {
        Urgency::Ended => Tone::Bad,
        Urgency::Soon => Tone::Warning,
        Urgency::Later | Urgency::Unknown => Tone::Plain,
    };
    let ready = match row.ready.as_str() {
        "True" => Tone::Good,
        "False" => Tone::Bad,
        _ => Tone::Warning,
    };
    // The latest day that is possible is no day that somebody declared.
    let ends = row.day().map_or_else(|| "–".to_owned(), |day| if row.inferred() { format!("≤ {day}") } else { day });
    vec![
        plain(row.namespace.as_str()),
        plain(row.name.as_str()),
        (ends, tone),
        (row.left().unwrap_or_else(|| "–".to_owned()), tone),
        (row.ready.clone(), ready),
        or_dash(&row.account),
        or_dash(&row.contact),
        plain(row.what_to_do.as_deref().unwrap_or_default()),
    ]
}

/// Such as "3 connections: 1 token has ended, 1 ends soon; 1 is not Ready."
fn summary(rows: &[Row]) -> String {
    let count = |of: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| of(row)).count();
    let (ended, soon) = (count(&|row| row.urgency == Urgency::Ended), count(&|row| row.urgency == Urgency::Soon));
    let (unknown, unready) = (count(&|row| row.urgency == Urgency::Unknown), count(&|row| row.ready != "True"));
    let plural = |number: usize, one: &str, many: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        number => Some(format!("{number} {many}")),
    };
    let facts: Vec<String> = [
        plural(ended, "token has ended", "tokens have ended"),
        plural(soon, "token ends soon", "tokens end soon"),
        plural(unknown, "end is not known", "ends are not known"),
        plural(unready, "connection is not Ready", "connections are not Ready"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let all = plural(rows.len(), "connection", "connections").unwrap_or_default();
    let inferred = if rows.iter().any(Row::inferred) {
        " ≤ marks the latest day that is possible: put expiresAt into the Secret to be warned in time."
    } else {
        ""
    };
    match facts.as_slice() {
        [] => format!("{all}: all are Ready, and no token ends soon.{inferred}"),
        facts => format!("{all}: {}.{inferred}", facts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::row::tests::{ending, row},
        *,
    };

    #[test]
    fn the_table_aligns_and_the_summary_counts() {
        let failing = json!({"status": {"conditions": [{
            "type": "Ready", "status": "False", "reason": "ScopesMissing", "message": "The token lacks read:user:bitbucket.",
            "lastTransitionTime": "2026-11-01T00:00:00Z",
        }], "token": null, "account": null}, "spec": {"contact": null}});
        let rows = [
            ending("ended", "2026-11-20T00:00:00Z", "Secret"),
            ending("soon", "2026-12-11T00:00:00Z", "Secret"),
            ending("inferred", "2027-11-01T00:00:00Z", "Inferred"),
            row("failing", failing),
        ];
        insta::assert_snapshot!(text(&rows, Screen::new(140, false)), @"
        NAMESPACE  NAME      ENDS          LEFT         READY  ACCOUNT    CONTACT  WHAT TO DO
        team-a     ended     2026-11-20    11 days ago  True   hanzo-bot  #team-a  Put a new token into the Secret bitbucket-token, with its date.
        team-a     soon      2026-12-11    10 days      True   hanzo-bot  #team-a  Put a new token into the Secret bitbucket-token, with its date.
        team-a     inferred  ≤ 2027-11-01  335 days     True   hanzo-bot  #team-a
        team-a     failing   –             –            False  –          –        ScopesMissing: The token lacks read:user:bitbucket.

        4 connections: 1 token has ended, 1 token ends soon, 1 end is not known, 1 connection is not Ready. ≤ marks the latest day that is possible:
        put expiresAt into the Secret to be warned in time.
        ");
        insta::assert_snapshot!(text(&rows, Screen::new(60, false)), @"
        NAMESPACE  NAME      ENDS          LEFT         READY
        team-a     ended     2026-11-20    11 days ago  True
        team-a     soon      2026-12-11    10 days      True
        team-a     inferred  ≤ 2027-11-01  335 days     True
        team-a     failing   –             –            False

        CONNECTION      WHAT TO DO
        team-a/ended    Put a new token into the Secret
                        bitbucket-token, with its date.
        team-a/soon     Put a new token into the Secret
                        bitbucket-token, with its date.
        team-a/failing  ScopesMissing: The token lacks
                        read:user:bitbucket.

        4 connections: 1 token has ended, 1 token ends soon, 1 end
        is not known, 1 connection is not Ready. ≤ marks the latest
        day that is possible: put expiresAt into the Secret to be
        warned in time.
        ");
    }

    #[test]
    fn all_well_is_said_as_such() {
        let text = text(&[row("payments", json!({}))], Screen::new(120, false));
        assert!(text.ends_with("\n1 connection: all are Ready, and no token ends soon.\n"), "{text}");
    }
}
