//! A browser in the test's hand: Chromium without a window, spoken to in its DevTools protocol by a pipe.
//!
//! By `--remote-debugging-pipe` it reads commands from file descriptor 3 and answers on 4, one JSON object after the
//! other, each ended by a NUL: no port that somebody else may have, and no library between.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_mins(5);
/// Under these names Debian, Google and others install it.
const NAMES: [&str; 4] = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
/// Makes standard input and output of a program its descriptors 3 and 4.
const PIPES: &str = r#"exec "$0" "$@" 3<&0 4>&1 1>&2 </dev/null"#;

/// Chromium with one tab. It ends with this value.
pub struct Browser {
    // Killed when it is dropped.
    _child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    last_id: u64,
    session: Option<String>,
    events: Vec<Value>,
}

impl Browser {
    /// Starts it; nothing where there is none.
    pub async fn start(profile: &str) -> Option<Self> {
        let program = find()?;
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser").join(profile);
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir_all(&home).expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", PIPES]).arg(program);
        // Its sandbox needs rights that root in a container hasn't; it sees no page but ours.
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]);
        command.arg(format!("--user-data-dir={}", home.display())).arg("about:blank").env("HOME", &home);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("a browser");
        let commands = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut browser = Self { _child: child, commands, answers, last_id: 0, session: None, events: Vec::new() };
        let tab = browser.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": tab["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Network", "Log", "Runtime"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        Some(browser)
    }

    /// Asks for something of the DevTools protocol.
    pub async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut command = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).await.expect("a browser that listens");
        loop {
            let message = self.message(method).await;
            if message["id"] == self.last_id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    async fn message(&mut self, waiting_for: &str) -> Value {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.answers.read_until(0, &mut bytes)).await;
        let read = read.unwrap_or_else(|_| panic!("the browser doesn't answer {waiting_for}"));
        assert!(read.expect("a pipe") > 0, "the browser ended before it answered {waiting_for}");
        bytes.pop();
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// Waits for an event of the tab.
    async fn until(&mut self, event: &str) {
        while !self.events.iter().any(|message| message["method"] == event) {
            let message = self.message(event).await;
            self.events.push(message);
        }
    }

    /// Shows a page on a screen of this size, and waits until it is loaded. What was seen before is forgotten.
    pub async fn open(&mut self, page: &Path, (width, height): (u32, u32)) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
        self.events.clear();
        let gone = self.call("Page.navigate", json!({"url": format!("file://{}", page.display())})).await;
        assert!(gone["errorText"].is_null(), "{gone}");
        self.until("Page.loadEventFired").await;
    }

    /// The page is seen so from now on: `prefers-color-scheme` is this, and it is on paper or on a screen.
    pub async fn look(&mut self, scheme: &str, medium: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"media": medium, "features": features})).await;
    }

    /// The value of an expression in the page; waits for one that is a promise.
    pub async fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", parameters).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression:.200}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Types a text where the page has its focus.
    pub async fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Presses and releases the mouse in the middle of an element.
    pub async fn click(&mut self, selector: &str) {
        let middle = format!(
            "(() => {{ const it = document.querySelector({}); it.scrollIntoView({{block: 'center'}}); \
             const box = it.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(selector)
        );
        let at = self.value(&middle).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// All addresses that the page asked for since it was opened, but for its own and what is in it.
    pub fn asked(&self) -> Vec<String> {
        let requests = self.events.iter().filter(|message| message["method"] == "Network.requestWillBeSent");
        let addresses = requests.filter_map(|message| message["params"]["request"]["url"].as_str());
        addresses.filter(|url| !url.starts_with("file://") && !url.starts_with("data:")).map(str::to_owned).collect()
    }

    /// What it complained about since it was opened: errors of scripts, breaches of the page's policy.
    pub fn complaints(&self) -> Vec<&Value> {
        let kinds = ["Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"];
        self.events.iter().filter(|message| kinds.iter().any(|kind| message["method"] == *kind)).collect()
    }

    /// A picture of what is on the screen.
    pub async fn picture(&mut self) -> Vec<u8> {
        let taken = self.call("Page.captureScreenshot", json!({"format": "png", "optimizeForSpeed": false})).await;
        STANDARD.decode(taken["data"].as_str().unwrap_or_default()).expect("a picture")
    }
}

/// The browser's program: that of `CHROMIUM`, else one of PATH that tells its version.
fn find() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("CHROMIUM") {
        return Some(program.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let programs = NAMES.into_iter().flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)));
    programs.filter(|program| program.is_file()).find(|program| {
        let told = std::process::Command::new(program).arg("--version").output();
        told.is_ok_and(|output| output.status.success())
    })
}
