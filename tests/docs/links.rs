//! Every link leads to a file that is there, and to a heading in it; every page is in the table of contents.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Texts outside of docs/ that link into it.
const OTHERS: [&str; 6] = [
    "README.md",
    "CONTRIBUTING.md",
    ".github/SECURITY.md",
    "CHANGELOG.md",
    "fuzz/README.md",
    "charts/bitbucket-connection-operator/README.md",
];

/// What a page links to, and what can be linked to in it.
#[derive(Default)]
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

fn read(path: &Path) -> Page {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut page, mut heading, mut counts) = (Page::default(), None::<String>, BTreeMap::<String, usize>::new());
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.to_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                let count = counts.entry(anchor.clone()).or_default();
                page.anchors.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
                *count += 1;
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                let ids = html.split("id=\"").skip(1).filter_map(|rest| rest.split('"').next());
                page.anchors.extend(ids.map(str::to_owned));
            }
            _ => {}
        }
    }
    page
}

/// As GitHub and mdBook make them of headings.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}

/// The pages of docs/.
pub fn pages() -> Vec<PathBuf> {
    let files = std::fs::read_dir(Path::new(ROOT).join("docs")).expect("a folder");
    let files = files.map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|it| it == "md")).collect();
    files.sort();
    files
}

#[test]
fn every_link_leads_somewhere() {
    let mut pages = pages();
    pages.extend(OTHERS.iter().map(|other| Path::new(ROOT).join(other)));
    let (mut count, mut broken) = (0, Vec::new());
    for path in &pages {
        for link in read(path).links.iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            let is_page = target.extension().is_some_and(|it| it == "md");
            if !target.exists() || (is_page && !anchor.is_empty() && !read(&target).anchors.contains(anchor)) {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{} of {count} links lead nowhere:\n{}", broken.len(), broken.join("\n"));
    assert!(count > 300, "only {count} links were found");
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let contents: BTreeSet<_> = read(&Path::new(ROOT).join("docs/SUMMARY.md")).links.into_iter().collect();
    let names = pages().into_iter().filter_map(|page| Some(page.file_name()?.to_str()?.to_owned()));
    let missing: Vec<_> = names.filter(|name| name != "SUMMARY.md" && !contents.contains(name)).collect();
    assert!(missing.is_empty(), "add to docs/SUMMARY.md: {missing:?}");
}
