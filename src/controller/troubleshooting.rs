//! docs/troubleshooting.md tells failures in the operator's own words, which come from [`super::words`].

use super::words::{Example, keep, of_connections};

const FILE: &str = "docs/troubleshooting.md";
const DOC: &str = include_str!("../../docs/troubleshooting.md");
/// Begins the operator's words in a story.
const HERE: &str = "- **Here:**";

/// The cases that are told in the document, in its order.
const STORIES: &[&str] = &[
    "no Secret",
    "no key",
    "a user name",
    "Git's user name",
    "two words for a token",
    "a dead token",
    "an expired token",
    "another account's token",
    "an alias",
    "the wrong button",
    "an access token",
    "an app password",
    "an unexplained refusal",
    "a scope that is missing",
    "scopes in excess, blocked",
    "scopes not reported",
    "a workspace out of reach",
    "an allow list",
    "Bitbucket's limit",
    "an outage of Bitbucket",
    "a refused token",
    "a token that the KMS can't use",
    "a name that is taken",
    "a name that the KMS refuses",
    "a lost mark",
    "no right",
    "an unknown project",
    "a KMS without projects",
    "an instance that can't log in",
    "an instance whose certificate isn't trusted",
    "a deletion of what is in use",
    "a date that can't be read",
    "a date that nobody wrote",
];

/// A condition as the document shows it.
fn shown(Example { condition, status, reason, message, .. }: &Example) -> String {
    format!("{HERE} `{condition}={}`, `{reason}`:\n  > {message}\n", status.as_str())
}

#[test]
fn the_document_has_the_words_of_the_code() {
    let examples = of_connections();
    let mut parts = DOC.split(HERE);
    let mut document = parts.next().unwrap_or_default().to_owned();
    let parts: Vec<_> = parts.collect();
    assert_eq!(parts.len(), STORIES.len(), "each story is made here, or nobody sees when its words change");
    for (case, part) in STORIES.iter().zip(parts) {
        let example = examples.iter().find(|example| example.case == *case);
        document.push_str(&shown(example.unwrap_or_else(|| panic!("there is no example of {case}"))));
        // The condition, its message, and what goes on behind them.
        document.push_str(part.splitn(3, '\n').nth(2).unwrap_or_default());
    }
    keep(FILE, &document);
}

#[test]
fn every_story_is_whole_and_can_be_found() {
    let anchor = |title: &str| {
        let kept = title.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>()
    };
    for story in DOC.split("\n### ").skip(1) {
        let title = story.lines().next().unwrap_or_default();
        for part in ["**In Bitbucket", "**Here:**", "**Cause:**", "**Next:**"] {
            assert!(story.contains(part), "{title} lacks {part}");
        }
        assert!(story.contains("in the KMS:**") || story.contains("**In the KMS:**"), "{title} lacks the KMS");
        assert!(DOC.contains(&format!("](#{})", anchor(title))), "nothing leads to {title}: #{}", anchor(title));
    }
    let titles: Vec<_> = DOC.lines().filter_map(|line| line.strip_prefix("### ")).map(anchor).collect();
    for link in DOC.split("](#").skip(1) {
        let target = link.split(')').next().unwrap_or_default();
        assert!(titles.iter().any(|title| title == target), "a link leads nowhere: #{target}");
    }
}

/// The README shows a piece of what `make demo` prints, whose lines are broken and indented.
#[test]
fn the_readme_shows_a_message_as_it_is() {
    let on_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let examples = of_connections();
    let example = examples.iter().find(|example| example.case == "a dead token").expect("an example");
    let readme = on_one_line(include_str!("../../README.md"));
    assert!(readme.contains(&on_one_line(&example.message)), "show this in README.md: {}", example.message);
}
