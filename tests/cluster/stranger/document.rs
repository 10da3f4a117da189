//! What docs/troubleshooting.md says.

const DOCUMENT: &str = include_str!("../../../docs/troubleshooting.md");

/// A failure as the page tells it.
pub struct Section {
    pub title: String,
    /// What a link to it ends in.
    pub anchor: String,
    /// Type of the condition that tells it.
    pub condition: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    /// All that is said of it.
    pub text: String,
}

/// All of them, in their order.
pub fn sections() -> Vec<Section> {
    DOCUMENT.split("\n### ").skip(1).map(section).collect()
}

fn section(text: &str) -> Section {
    let title = text.lines().next().unwrap_or_default().to_owned();
    // - **Here:** `Synced=False`, `KmsRejected`:
    //   > The KMS …
    let here = text.split("- **Here:** ").nth(1).unwrap_or_else(|| panic!("{title} has no words of the operator"));
    let mut code = here.split('`');
    let (condition, status) = code.nth(1).and_then(|it| it.split_once('=')).expect("a condition");
    let reason = code.nth(1).expect("a reason");
    let message = here.lines().nth(1).and_then(|line| line.trim_start().strip_prefix("> ")).expect("a message");
    let anchor = title.to_lowercase().replace(' ', "-");
    Section {
        anchor: anchor.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect(),
        title,
        condition: condition.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        text: text.to_owned(),
    }
}
