//! The page of `podwall matrix -o html` in a real browser: every control of it, and that it asks nobody for anything.

use std::sync::{Mutex, MutexGuard, PoisonError};

use podwall_tests::browser::{Browser, save, size};
use podwall_tests::{root, run};
use serde_json::{Value, json};

const ENTER: char = '\u{e007}';
const ESCAPE: char = '\u{e00c}';
const RIGHT: char = '\u{e014}';
const DOWN: char = '\u{e015}';

const PANEL: &str = "#panel";
const FRONTEND: &str = "shop/deploy/frontend";
const BACKEND: &str = "shop/deploy/backend";

/// A page in a browser. When it is dropped, it must have asked for itself only and have written nothing to the console.
struct Page {
    browser: Browser,
    /// One browser after the other: they are heavy.
    _turn: MutexGuard<'static, ()>,
}

impl Page {
    fn open(arguments: &[&str], stdin: &str) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let html = run(&[&["matrix", "-o", "html"], arguments].concat(), stdin).expect(0).stdout;
        let browser = Browser::start(1400, 940);
        browser.open(&html);
        Self { browser, _turn: turn }
    }

    fn shop() -> Self {
        Self::open(&["-f", "fixtures/shop"], "")
    }

    /// The selector of a cell.
    fn cell(&self, from: &str, to: &str) -> String {
        let place = |headers: &str, name: &str, field: &str| {
            let script = format!(
                "return [...document.querySelectorAll('{headers}')].find((th) => th.title === '{name}').dataset.{field}"
            );
            self.browser.script(&script).as_str().unwrap_or_else(|| panic!("{name} is not shown")).to_owned()
        };
        let (row, column) = (place("th[data-row]", from, "row"), place("th[data-column]", to, "column"));
        format!("td[data-row=\"{row}\"][data-column=\"{column}\"]")
    }

    fn symbol(&self, from: &str, to: &str) -> String {
        self.browser.text(&self.cell(from, to))
    }

    /// The names of the rows that are there.
    fn rows(&self) -> Value {
        self.browser.script("return [...document.querySelectorAll('th[data-row]')].map((th) => th.title)")
    }

    fn count(&self, selector: &str) -> u64 {
        self.browser.script(&format!("return document.querySelectorAll('{selector}').length")).as_u64().unwrap()
    }

    fn select_port(&self, name: &str) {
        let options = self.browser.script("return [...document.querySelectorAll('#port option')].map((o) => o.text)");
        let place = options.as_array().unwrap().iter().position(|option| option == name).expect("the port is there");
        self.browser.click(&format!("#port option:nth-child({})", place + 1));
    }

    fn panel(&self) -> String {
        self.browser.text(PANEL)
    }

    /// Moves the pointer where nothing is.
    fn leave(&self) {
        self.browser.hover("h1");
    }

    /// Moves the pointer onto the curve of a flow, where no other lies over it.
    fn hover_edge(&self, from: &str, to: &str) {
        self.leave();
        let (cell, script) = (self.cell(from, to), include_str!("browser/edge.js"));
        let place = self.browser.script(&script.replace("CELL", &cell));
        let [x, y] = [&place[0], &place[1]].map(|value| value.as_f64().unwrap_or_else(|| panic!("no edge: {place}")));
        self.browser.hover_at(x, y);
    }

    fn background(&self) -> Value {
        self.browser.script("return getComputedStyle(document.body).backgroundColor")
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let (console, requests) = (self.browser.console(), self.browser.requests());
        assert!(console.is_empty(), "the console says {console:?}");
        let page = self.browser.address();
        assert!(!requests.is_empty() && requests.iter().all(|request| *request == page), "it asked for {requests:?}");
    }
}

#[test]
fn it_says_what_it_shows() {
    let page = Page::shop();
    assert_eq!(page.browser.text("#counts"), "5 workloads \u{b7} 10 pods \u{b7} 10 ports \u{b7} 8 policies");
    assert_eq!(page.count("#matrix td"), 25);
    assert_eq!(page.count("#graph .node"), 5);
    assert_eq!(page.symbol(FRONTEND, BACKEND), "~");
    assert_eq!(page.symbol(BACKEND, FRONTEND), "X");
    assert_eq!(page.symbol("shop/sts/database", FRONTEND), "X");
    // Nobody has to see colours: each meaning has a sign, and each sign a meaning.
    let legend = page.browser.text("#legend");
    for meaning in ["allowed", "denied", "on some of the ports", "the pod itself"] {
        assert!(legend.contains(meaning), "{meaning} is missing in {legend}");
    }
    for id in ["filter", "neighbours", "port"] {
        assert_eq!(page.count(&format!("label[for={id}]")), 1, "{id} has no label");
    }
    assert_eq!(page.count("table[role=grid][aria-label]"), 1);
    assert_eq!(page.count("#matrix td[tabindex=\"0\"]"), 1, "the tab key leads to one cell");
}

#[test]
fn a_port_is_selected_and_a_filter_leaves_what_it_names() {
    let page = Page::shop();
    page.select_port("TCP 3000");
    assert_eq!(page.symbol(FRONTEND, BACKEND), ".");
    assert_eq!(page.symbol(BACKEND, FRONTEND), "X");
    let open = page
        .browser
        .script("return [...document.querySelectorAll('#matrix td')].filter((td) => td.innerText === '.').length");
    assert_eq!(page.count("#graph .edge"), open.as_u64().unwrap(), "an edge for each allowed cell");
    assert!(page.browser.text("#graph-count").starts_with(&open.to_string()));

    page.browser.fill("#filter", "FRONT");
    assert_eq!(page.rows(), json!([BACKEND, FRONTEND]), "and its peers on that port");
    page.browser.click("#neighbours");
    assert_eq!(page.rows(), json!([FRONTEND]));
    assert_eq!(page.count("#graph .node"), 1);
    page.browser.fill("#filter", "front data");
    assert_eq!(page.rows(), json!(["shop/sts/database", FRONTEND]), "any of the words");
    page.browser.fill("#filter", "nobody");
    assert_eq!(page.count("#matrix td") + page.count("#graph svg"), 0);
    assert!(page.browser.text("#matrix").contains("Nothing has that name"));
    page.browser.fill("#filter", " ");
    page.select_port("all ports");
    assert_eq!(page.count("#matrix td"), 25);
}

#[test]
fn a_cell_tells_its_reasons_and_a_click_keeps_them() {
    let page = Page::shop();
    let hint = page.panel();
    page.browser.hover(&page.cell(FRONTEND, BACKEND));
    let reasons = page.panel();
    for part in ["TCP 3000", "shop/frontend", "egress[0]", "shop/backend", "ingress[0]", "shop.yaml:"] {
        assert!(reasons.contains(part), "{part} is missing in\n{reasons}");
    }
    assert_eq!(page.count("#graph .edge.out"), 1, "the graph shows the same flow");
    page.leave();
    assert_eq!(page.panel(), hint);

    page.browser.click(&page.cell(FRONTEND, BACKEND));
    page.browser.hover(&page.cell(BACKEND, FRONTEND));
    assert!(page.panel().contains("TCP 3000") && page.count("#panel.pinned") == 1, "{}", page.panel());
    page.browser.key(ESCAPE);
    assert_eq!(page.count("#panel.pinned"), 0);
    page.browser.click(&page.cell(FRONTEND, BACKEND));
    page.browser.click("#unpin");
    assert_eq!(page.count("#panel.pinned"), 0);
}

#[test]
fn a_keyboard_is_enough() {
    let page = Page::shop();
    page.browser.script("document.querySelector('#matrix td[tabindex=\"0\"]').focus()");
    let label = || page.browser.script("return document.activeElement.getAttribute('aria-label')");
    let first = label().as_str().unwrap().to_owned();
    assert!(first.starts_with("platform/ds/dns to platform/ds/dns: "), "{first}");
    page.browser.key(RIGHT);
    page.browser.key(DOWN);
    page.browser.key(DOWN);
    let label = label().as_str().unwrap().to_owned();
    assert!(label.starts_with("shop/deploy/backend to platform/deploy/monitoring: "), "{label}");
    assert!(page.panel().contains("backend"), "the panel follows");
    page.browser.key(ENTER);
    assert_eq!(page.count("#panel.pinned"), 1);
    page.browser.key(ENTER);
    assert_eq!(page.count("#panel.pinned"), 0);
    // Nodes can be reached as well, and lead to their flows by buttons.
    page.browser.script("[...document.querySelectorAll('.node')].find((n) => n.getAttribute('aria-label').startsWith('shop/deploy/backend')).focus()");
    page.browser.key(ENTER);
    assert!(page.panel().contains("Reaches 2"), "{}", page.panel());
    page.browser.click(".peer");
    assert_eq!(page.count("#matrix td.picked"), 1);
}

#[test]
fn the_graph_shows_who_reaches_a_workload_and_whom_it_reaches() {
    let page = Page::shop();
    let node = |name: &str| format!(".node[aria-label^=\"{name}\"] .dot");
    page.browser.hover(&node(BACKEND));
    let marked = |class: &str| page.count(&format!("#graph .edge.{class}"));
    assert_eq!((marked("out"), marked("in")), (2, 2), "{}", page.panel());
    let panel = page.panel();
    for part in ["2 pods", "isolated for egress", "isolated for ingress", "Reaches 2", "Is reached by 2", "TCP 5432"] {
        assert!(panel.contains(part), "{part} is missing in\n{panel}");
    }
    page.leave();
    assert_eq!(marked("out") + marked("in"), 0);

    page.hover_edge(BACKEND, "shop/sts/database");
    let panel = page.panel();
    for part in ["backend", "database", "TCP 5432", "allowed", "shop/database", "ingress[0]"] {
        assert!(panel.contains(part), "{part} is missing in\n{panel}");
    }
    assert_eq!(page.count("#matrix td.picked"), 1, "the matrix shows the same flow");

    // DNS is open to send what it likes: it is isolated for ingress only.
    let walls = |name: &str| page.count(&format!(".node[aria-label^=\"{name}\"] .wall"));
    assert_eq!((walls("platform/ds/dns"), walls(BACKEND)), (1, 2));

    page.browser.click("button[data-view=graph]");
    assert!(!page.browser.script("return document.querySelector('#matrix').checkVisibility()").as_bool().unwrap());
    page.browser.click("button[data-view=matrix]");
    assert!(!page.browser.script("return document.querySelector('#graph').checkVisibility()").as_bool().unwrap());
}

#[test]
fn light_and_dark_follow_the_system_until_somebody_chooses() {
    let page = Page::shop();
    let light = page.background();
    page.browser.prefer("dark");
    let dark = page.background();
    assert_ne!(light, dark);
    assert_eq!(page.browser.text("#theme"), "Light");
    page.browser.click("#theme");
    assert_eq!(page.background(), light);
    page.browser.click("#theme");
    assert_eq!(page.background(), dark);
    page.browser.click("#theme");
    page.browser.reload();
    assert_eq!(page.background(), dark, "nothing is remembered");
    // WCAG AA of every sign in the matrix, in both.
    for scheme in ["light", "dark"] {
        page.browser.prefer(scheme);
        let poor = page.browser.script(include_str!("browser/contrast.js"));
        assert_eq!(poor, json!([]), "{scheme}");
    }
}

#[test]
fn too_many_workloads_are_a_matrix_until_a_filter_leaves_fewer() {
    let pod = |place: usize| {
        format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p{place:02}, namespace: n{}}}, spec: {{nodeName: n1}}}}\n",
            place % 2
        )
    };
    let page = Page::open(&["-f", "-"], &(0..70).map(pod).collect::<String>());
    assert!(page.browser.text("#graph").contains("70 workloads are too many to draw"));
    assert_eq!(page.count("#matrix td"), 4900);
    page.browser.click("#neighbours");
    page.browser.fill("#filter", "n1/");
    assert_eq!((page.count("#graph .node"), page.count("#graph .edge")), (35, 35 * 34));
}

#[test]
fn rows_far_down_are_drawn_when_somebody_goes_there() {
    let pod = |place: usize| {
        format!("---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p{place:03}}}, spec: {{nodeName: n1}}}}\n")
    };
    let page = Page::open(&["-f", "-"], &(0..130).map(pod).collect::<String>());
    let rows = || page.count("th[data-row]");
    assert!(rows() < 100, "{} rows at once", rows());
    page.browser.script("const box = document.querySelector('#matrix .scroll'); box.scrollTo(0, box.scrollHeight)");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while rows() < 130 {
        assert!(std::time::Instant::now() < deadline, "only {} rows", rows());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(page.symbol("default/p129", "default/p000"), ".");
    assert_eq!(page.count("#matrix td"), 130 * 130);
}

#[test]
fn addresses_outside_and_families_are_shown() {
    let page = Page::open(&["-f", "fixtures/matrix", "--external", "198.51.100.0/24"], "");
    assert_eq!(page.symbol("198.51.100.0/25", "198.51.100.128/25"), "");
    assert_eq!(page.symbol("net/v4", "net/v6"), "");
    page.select_port("TCP 8080");
    assert_eq!(page.symbol("net/both", "net/server"), "4");
    page.browser.hover(&page.cell("net/both", "net/server"));
    let panel = page.panel();
    assert!(panel.contains("over IPv4 passes") && panel.contains("over IPv6 is denied"), "{panel}");
    page.select_port("TCP 443");
    assert_eq!(page.symbol("198.51.100.0/25", "net/server"), ".");
    page.browser.hover(&page.cell("198.51.100.0/25", "net/server"));
    assert!(page.panel().contains("net/server"), "{}", page.panel());
    page.browser.hover(&page.cell("net/v4", "net/v6"));
    assert!(page.panel().contains("no address family in common"), "{}", page.panel());
}

#[test]
fn the_picture_in_the_readme_can_be_taken() {
    let page = Page::open(&["-f", "fixtures/market", "--external", "203.0.113.0/24"], "");
    page.browser.click(&page.cell("market/deploy/checkout", "payments/deploy/gateway"));
    page.leave();
    let picture = page.browser.picture();
    assert_eq!(size(&picture), (1400, 940));
    let path = root().join("docs/matrix.png");
    if std::env::var_os("PODWALL_BLESS").is_some() {
        save(&picture, &path);
    }
    // Letters differ from machine to machine, so that bytes are not compared.
    assert_eq!(size(&std::fs::read(&path).expect("PODWALL_BLESS=1 takes it")), (1400, 940));
}
