//! Finds what the pages show in a language: manifests (```yaml), commands (```sh) and others.

use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// YAML.
    Manifest,
    /// For a shell.
    Commands,
    /// For Prometheus.
    Expressions,
    /// HCL.
    Terraform,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins.
    pub line: usize,
    pub kind: Kind,
    pub text: String,
    /// Why it isn't run, if it isn't.
    pub not_run: Option<String>,
}

/// The pages by their names, with their blocks in order.
pub fn pages() -> Vec<(String, Vec<Block>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(root.join("docs")).expect("a folder").map(|file| file.expect("a file").path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|it| it == "md")).collect();
    files.push(root.join("README.md"));
    files.sort();
    let page = |file: PathBuf| {
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, of_page(&text))
    };
    files.into_iter().map(page).collect()
}

fn of_page(page: &str) -> Vec<Block> {
    let (mut blocks, mut open, mut comment) = (Vec::new(), None::<Block>, None::<String>);
    for (event, range) in Parser::new(page).into_offset_iter() {
        match event {
            Event::Html(html) => comment = not_run(&html).or(comment),
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                let kind = match &*language {
                    "yaml" => Some(Kind::Manifest),
                    "sh" => Some(Kind::Commands),
                    "promql" => Some(Kind::Expressions),
                    "hcl" => Some(Kind::Terraform),
                    // Output.
                    "" => None,
                    other => panic!("nobody judges ```{other}: teach tests/docs/run to, or name no language"),
                };
                let line = page[..range.start].matches('\n').count() + 1;
                let not_run = comment.take();
                open = kind.map(|kind| Block { line, kind, text: String::new(), not_run });
            }
            Event::Text(text) => match &mut open {
                Some(block) => block.text.push_str(&text),
                None => comment = None,
            },
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            _ => {}
        }
    }
    blocks
}

/// The reason in a comment.
fn not_run(html: &str) -> Option<String> {
    let comment = html.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
    comment.trim().strip_prefix("not run:").map(|reason| reason.trim().to_owned())
}

#[test]
fn blocks_are_found_with_their_reasons() {
    let page = "\
Text.

```sh
one
```

- In a list:

  <!-- not run: needs Flux -->
  ```yaml
  two: 2
  ```

<!-- not run: of what comes next alone -->

Words between them.

```yaml
three: 3
```

```
output
```
";
    let block = |line, kind, text: &str, not_run: Option<&str>| Block {
        line,
        kind,
        text: text.to_owned(),
        not_run: not_run.map(str::to_owned),
    };
    let expected = [
        block(3, Kind::Commands, "one\n", None),
        block(10, Kind::Manifest, "two: 2\n", Some("needs Flux")),
        block(18, Kind::Manifest, "three: 3\n", None),
    ];
    assert_eq!(of_page(page), expected);
}
