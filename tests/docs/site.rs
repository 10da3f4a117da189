//! The site that mdBook makes of the pages, where mdBook is there (`make docs` installs it): no link in it leads nowhere.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// mdBook in PATH, or where cargo installs it.
fn mdbook() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let candidates = ["mdbook".into()].into_iter().chain(home.map(|home| home.join("bin/mdbook")));
    candidates.into_iter().find(|it| Command::new(it).arg("--version").output().is_ok())
}

fn values<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!(" {name}=\"");
    html.split(&begin).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn no_link_of_the_site_leads_nowhere() {
    let python = Command::new("python3").arg("--version").output().is_ok();
    let Some(mdbook) = mdbook().filter(|_| python) else {
        println!("skipped: mdbook or python3 is not here; `make docs` installs mdbook");
        return;
    };
    let site = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book");
    let mut build = Command::new(mdbook);
    build.args(["build", "--dest-dir"]).arg(&site).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = build.output().expect("mdbook");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("WARN") && !said.contains("ERROR"), "{said}");

    let files = fs::read_dir(&site).expect("a site").map(|file| file.expect("a file").path());
    // The one is for servers at their root, the other is all pages in one.
    let is_page = |file: &PathBuf| {
        file.extension().is_some_and(|it| it == "html") && !file.ends_with("404.html") && !file.ends_with("print.html")
    };
    let pages: Vec<_> = files.filter(is_page).collect();
    let read = |page: &Path| fs::read_to_string(page).unwrap_or_default();
    let (mut count, mut broken) = (0, Vec::new());
    for page in &pages {
        let html = read(page);
        let links = values(&html, "href").into_iter().chain(values(&html, "src"));
        for link in links.filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { site.join(file) };
            let there = target.exists()
                && (anchor.is_empty()
                    || values(&read(&target), "id").into_iter().collect::<BTreeSet<_>>().contains(anchor));
            if !there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{} of {count} links lead nowhere:\n{}", broken.len(), broken.join("\n"));
    assert!(pages.len() > 20 && count > 500, "{count} links in {} pages", pages.len());
}
