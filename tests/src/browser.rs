//! A headless Chromium with nobody else on its network, told what to do over WebDriver.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::Namespace;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The namespace is the browser's own, and so is every port in it.
const PORT: u16 = 9515;
const PATIENCE: Duration = Duration::from_secs(60);
/// What WebDriver calls the field with an element's identity.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window. It ends when this is dropped.
pub struct Browser {
    namespace: Namespace,
    driver: Child,
    session: String,
    /// Its profile, and the page.
    files: TempDir,
}

impl Browser {
    /// Starts one with a window of this size, in CSS pixels.
    pub fn start(width: u32, height: u32) -> Self {
        for program in ["chromium", "chromedriver"] {
            let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
            assert!(found.is_ok(), "{program} does not start; install the packages chromium and chromium-driver");
        }
        let namespace = crate::namespace("browser");
        let files = tempfile::tempdir().expect("a temporary directory");
        let driver = namespace.run(|| {
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip starts");
            assert!(up.success(), "loopback does not come up");
            // Whatever the driver starts ends with it, as all processes of a namespace do with the first.
            Command::new("unshare")
                .args(["--pid", "--fork", "--kill-child", "--mount-proc", "chromedriver"])
                .arg(format!("--port={PORT}"))
                // Driver and browser leave folders where temporary files go.
                .env("TMPDIR", files.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("chromedriver starts")
        });
        let driver = driver.expect("the namespace can be entered");
        let mut browser = Self { namespace, driver, session: String::new(), files };
        browser.wait_for_driver();
        let arguments = [
            "--headless=new".to_owned(),
            // Root may not use its sandbox; the namespace is one of another kind.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", browser.files.path().join("profile").display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let answer = browser.ask("POST", "/session", &wanted);
        browser.session = answer["sessionId"].as_str().expect("a session has an identity").to_owned();
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        browser.devtools("Emulation.setDeviceMetricsOverride", size);
        browser.prefer("light");
        // What the browser's own first page logged is nobody's business.
        browser.post("/url", &json!({"url": "about:blank"}));
        _ = (browser.console(), browser.requests());
        browser
    }

    /// Opens a page, given as HTML.
    pub fn open(&self, page: &str) {
        let file = self.files.path().join("page.html");
        fs::write(&file, page).expect("the directory is ours");
        self.post("/url", &json!({"url": format!("file://{}", file.display())}));
    }

    /// What the window shows.
    pub fn address(&self) -> String {
        let path = format!("/session/{}/url", self.session);
        self.ask("GET", &path, &Value::Null).as_str().expect("an address").to_owned()
    }

    /// Loads the page anew.
    pub fn reload(&self) {
        self.post("/refresh", &json!({}));
    }

    /// What the body of a function comes to in the page.
    #[track_caller]
    pub fn script(&self, body: &str) -> Value {
        self.post("/execute/sync", &json!({"script": body, "args": []}))
    }

    /// The text of the first element that a selector finds, as it is seen.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let path = format!("/session/{}/element/{}/text", self.session, self.find(selector));
        self.ask("GET", &path, &Value::Null).as_str().expect("a text").to_owned()
    }

    /// Moves the pointer onto an element.
    #[track_caller]
    pub fn hover(&self, selector: &str) {
        let origin = json!({ELEMENT: self.find(selector)});
        self.pointer(&[json!({"type": "pointerMove", "origin": origin, "x": 0, "y": 0})]);
    }

    /// Moves the pointer to a place in the window.
    pub fn hover_at(&self, x: f64, y: f64) {
        self.pointer(&[json!({"type": "pointerMove", "x": x.round() as i64, "y": y.round() as i64})]);
    }

    /// Clicks on an element.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.post(&format!("/element/{}/click", self.find(selector)), &json!({}));
    }

    /// Types into an element, in place of what it holds; not nothing, which no page would notice.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/clear"), &json!({}));
        self.post(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    /// Presses and lets go of a key, by WebDriver's character for it.
    pub fn key(&self, key: char) {
        let press = |kind: &str| json!({"type": kind, "value": key});
        let keys = json!({"type": "key", "id": "keyboard", "actions": [press("keyDown"), press("keyUp")]});
        self.post("/actions", &json!({"actions": [keys]}));
    }

    /// Has the system prefer `light` or `dark`.
    pub fn prefer(&self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.devtools("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    /// What has been written to the console since the last call.
    pub fn console(&self) -> Vec<String> {
        let entries = self.log("browser");
        entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Every address that the page asked for since the last call.
    pub fn requests(&self) -> Vec<String> {
        let entries = self.log("performance");
        let messages = entries.iter().map(|entry| {
            let text = entry["message"].as_str().expect("an event is text");
            serde_json::from_str::<Value>(text).expect("an event is JSON")["message"].take()
        });
        let sent = messages.filter(|message| message["method"] == "Network.requestWillBeSent");
        sent.map(|message| message["params"]["request"]["url"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A picture of the window, as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let path = format!("/session/{}/screenshot", self.session);
        base64(self.ask("GET", &path, &Value::Null).as_str().expect("a picture is text"))
    }

    fn pointer(&self, steps: &[Value]) {
        let pointer =
            json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps});
        self.post("/actions", &json!({"actions": [pointer]}));
    }

    #[track_caller]
    fn find(&self, selector: &str) -> String {
        let found = self.post("/element", &json!({"using": "css selector", "value": selector}));
        found[ELEMENT].as_str().unwrap_or_else(|| panic!("nothing is {selector}: {found}")).to_owned()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        self.post("/se/log", &json!({"type": kind})).as_array().expect("a log is a list").clone()
    }

    fn devtools(&self, command: &str, parameters: Value) {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}));
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}{path}", self.session), body)
    }

    fn wait_for_driver(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.connect() {
            let ended = self.driver.try_wait().expect("a child can be asked for");
            assert!(ended.is_none(), "chromedriver ended: {ended:?}");
            assert!(Instant::now() < deadline, "chromedriver does not listen: {error}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        self.namespace.run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))).expect("the namespace can be entered")
    }

    /// One request and its `value`; panics with what the driver says where it refuses.
    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) =
            self.exchange(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert!(status == 200, "{method} {path}: {}", answer["value"]["message"]);
        answer["value"].clone()
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> std::io::Result<(u16, Value)> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost:{PORT}\r\nContent-Type: application/json\r\n")?;
        write!(stream, "Content-Length: {length}\r\n\r\n{body}")?;
        // The driver keeps its connections, whatever it is asked for.
        let mut stream = BufReader::new(stream);
        let mut line = || -> std::io::Result<String> {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            Ok(line.trim_end().to_ascii_lowercase())
        };
        let status = line()?.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut length = None;
        loop {
            let field = line()?;
            match field.strip_prefix("content-length:") {
                Some(value) => length = value.trim().parse().ok(),
                None if field.is_empty() => break,
                None => (),
            }
        }
        let (Some(status), Some(length)) = (status, length) else { return Err(ErrorKind::InvalidData.into()) };
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        Ok((status, serde_json::from_slice(&answer)?))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        _ = self.driver.kill();
        _ = self.driver.wait();
    }
}

/// Width and height of a PNG.
pub fn size(png: &[u8]) -> (u32, u32) {
    assert_eq!(png.get(1..4), Some(&b"PNG"[..]), "this is no PNG");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

/// Writes a picture.
pub fn save(png: &[u8], path: &Path) {
    fs::write(path, png).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let digit = DIGITS.iter().position(|digit| *digit == letter).expect("a digit of base 64");
        bits = (bits << 6 | digit as u32) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
