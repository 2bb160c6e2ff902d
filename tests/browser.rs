//! The pages in a real browser: light and dark, on a phone and on a desk, by keyboard, with hostile strings, and while alerts come.
//! Pictures of them lie in `target/screenshots`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::browser::{self, Browser, DESKTOP, LOOKS, Look};
use harness::{bins, skip};
use serde_json::{Value, json};

const DEMO: &str = "tests/traces/demo";

fn is_skipped() -> bool {
    let missing = browser::missing();
    if let Some(reason) = &missing {
        skip::say(reason);
    }
    missing.is_some()
}

fn groundtrail(folder: &Path, args: &[&str]) -> String {
    let output = Command::new(bins::groundtrail()).args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with a store, and events for it: those of the demo, through `change`.
struct Place(tempfile::TempDir);

impl Place {
    fn new(change: impl Fn(&mut Value)) -> Self {
        let place = Self::unread(change);
        place.run();
        place
    }

    /// The same before any run. One whose sources all end ends time: a page that joins both feeds needs both in one run.
    fn unread(change: impl Fn(&mut Value)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trace = bins::workspace().join(DEMO);
        let lines = fs::read_to_string(trace.join("host.ndjson")).unwrap();
        let changed = lines.lines().map(|line| {
            let mut event: Value = serde_json::from_str(line).unwrap();
            change(&mut event);
            event.to_string() + "\n"
        });
        fs::write(folder.path().join("host.ndjson"), changed.collect::<String>()).unwrap();
        fs::create_dir(folder.path().join("trail")).unwrap();
        fs::write(
            folder.path().join("gt.toml"),
            "[store]\npath = \"gt.db\"\n[[source]]\ntype = \"sensor\"\nfile = \"host.ndjson\"\nfollow = false\n\
             [[source]]\ntype = \"cloudtrail\"\npath = \"trail\"\nfollow = false\n",
        )
        .unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self) {
        groundtrail(self.path(), &["run", "-c", "gt.toml", "-o", "ndjson"]);
    }

    fn add_trail(&self, change: impl Fn(&mut Value)) {
        let trail = fs::read_to_string(bins::workspace().join(DEMO).join("cloudtrail.json")).unwrap();
        let mut trail: Value = serde_json::from_str(&trail).unwrap();
        trail["Records"].as_array_mut().unwrap().iter_mut().for_each(change);
        fs::write(self.path().join("trail/1.json"), trail.to_string()).unwrap();
        self.run();
    }

    /// The page of the incident with an alert of this name.
    fn report(&self, rule: &str) -> PathBuf {
        let args = ["tail", "-c", "gt.toml", "--no-follow", "-o", "ndjson", "--rule", rule, "-n", "1"];
        let alert: Value = serde_json::from_str(&groundtrail(self.path(), &args)).unwrap();
        let id = alert["groundtrail"]["alert"]["id"].as_str().unwrap();
        groundtrail(self.path(), &["report", "-c", "gt.toml", "--alert", id, "-o", "page.html"]);
        self.path().join("page.html")
    }
}

/// `groundtrail serve`, and where.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn new(place: &Place) -> Self {
        let mut child = Command::new(bins::groundtrail())
            .args(["serve", "-c", "gt.toml", "--listen", "127.0.0.1:0"])
            .current_dir(place.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned() }
    }

    fn root(&self) -> &str {
        self.address.split("?token=").next().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What holds of every page in every look.
fn is_well(browser: &mut Browser, look: Look, name: &str) {
    browser.look(look);
    let widths = browser.ask("[document.documentElement.scrollWidth, innerWidth]");
    assert!(widths[0].as_u64() <= widths[1].as_u64(), "{name} {}: wider than it is: {widths}", look.name());
    // The smallest contrast of a text with what is behind it, as WCAG counts it.
    let contrast = browser.ask(CONTRAST);
    assert!(contrast[0].as_f64().unwrap() >= 4.5, "{name} {}: too faint: {contrast}", look.name());
    let paper = browser.ask("getComputedStyle(document.body).backgroundColor");
    let is_dark = paper == "rgb(20, 23, 26)";
    assert_eq!(is_dark, look.is_dark, "{name}: {paper}");
    browser.screenshot(&format!("{name}-{}", look.name()));
}

const CONTRAST: &str = r"(() => {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let least = [99, ''];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest('.withdrawn, .ancestor, script') || !element.checkVisibility()) continue;
    const [a, b] = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least[0]) least = [ratio, element.outerHTML.slice(0, 120)];
  }
  return least;
})()";

#[test]
fn a_report_opens_from_disk_and_asks_for_nothing() {
    if is_skipped() {
        return;
    }
    let place = Place::unread(|_| {});
    place.add_trail(|_| {});
    let page = place.report("CloudTrail logging stopped");
    let mut browser = Browser::start();
    let address = format!("file://{}", page.display());
    browser.open(&address);
    for look in LOOKS {
        is_well(&mut browser, look, "report");
    }
    assert!(browser.ask("document.querySelectorAll('#timeline li').length").as_u64() > Some(3));
    assert!(
        browser
            .ask("document.querySelector('#processes').innerText")
            .to_string()
            .contains("ssm-document-worker")
    );
    // A file may not write to the clipboard everywhere: then it marks the text.
    browser.look(LOOKS[0]);
    browser.ask("document.querySelector('.copy button').click()");
    browser.until("['Copied', 'Marked'].includes(document.querySelector('.copy button').textContent)");
    assert_eq!(browser.asked_for(), [address]);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_list_is_well_in_every_look_and_leads_to_the_very_page_of_report() {
    if is_skipped() {
        return;
    }
    let place = Place::new(|_| {});
    place.add_trail(|_| {});
    let served = Served::new(&place);
    let mut browser = Browser::start();
    browser.open(&served.address);
    browser.until("document.querySelector('#link').textContent === 'Live'");
    assert!(!browser.ask("location.href").as_str().unwrap().contains("token"), "the token is out of sight");
    for look in LOOKS {
        is_well(&mut browser, look, "list");
    }
    assert_eq!(browser.ask("document.cookie"), "", "no script reads the token");

    browser.look(LOOKS[0]);
    browser.ask("document.querySelector('#incidents a').click()");
    browser.until("document.querySelector('#timeline')");
    let shown = browser.ask("document.querySelector('main').innerText");
    let page = place.report("CloudTrail logging stopped");
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    let root = served.root().to_owned();
    assert!(
        browser.asked_for().iter().all(|address| address.starts_with(&root)),
        "{:?}",
        browser.asked_for()
    );
    browser.open(&format!("file://{}", page.display()));
    assert_eq!(shown, browser.ask("document.querySelector('main').innerText"));
}

#[test]
fn alerts_come_in_by_themselves() {
    if is_skipped() {
        return;
    }
    let place = Place::new(|_| {});
    let served = Served::new(&place);
    let mut browser = Browser::start();
    browser.look(LOOKS[0]);
    browser.open(&served.address);
    browser.until("document.querySelector('#link').textContent === 'Live'");
    let before = browser.ask("document.querySelectorAll('#alerts li').length").as_u64().unwrap();
    assert!(before > 0);
    // A page that was loaded anew would have lost this.
    browser.ask("window.isTheSame = true");
    place.add_trail(|_| {});
    browser.until("document.querySelector('#alerts').textContent.includes('CloudTrail logging stopped')");
    browser.until(&format!("document.querySelectorAll('#alerts li').length > {before}"));
    assert_eq!(browser.ask("window.isTheSame"), true);
    browser.until("document.querySelector('#incidents').textContent.includes('user/mallory')");
    let times = "[...document.querySelectorAll('#alerts time')].map((time) => time.textContent)";
    let sorted = format!("JSON.stringify({times}) === JSON.stringify({times}.sort().reverse())");
    assert_eq!(browser.ask(&sorted), true, "the newest stands first");
    assert!(browser.ask("document.querySelector('#news').textContent").to_string().contains("new alert"));
    // The same once more, from the beginning: nothing stands twice.
    let ids = "[...document.querySelectorAll('#alerts li')].map((item) => item.dataset.id)";
    assert_eq!(browser.ask(&format!("new Set({ids}).size === {ids}.length")), true);
    drop(served);
    browser.until("document.querySelector('#link').textContent.startsWith('Not live')");
}

#[test]
fn everything_is_reached_by_keyboard() {
    if is_skipped() {
        return;
    }
    let place = Place::new(|_| {});
    place.add_trail(|_| {});
    let served = Served::new(&place);
    let mut browser = Browser::start();
    browser.look(Look { width: DESKTOP, is_dark: false });
    browser.open(&served.address);
    browser.press("Tab");
    assert_eq!(browser.ask("document.activeElement.className"), "skip");
    browser.press("/");
    assert_eq!(browser.ask("document.activeElement.id"), "words");
    "mallory".chars().for_each(|c| browser.press(&c.to_string()));
    let visible = "[...document.querySelectorAll('#alerts li:not([hidden])')]";
    browser.until(&format!("{visible}.length === 2"));
    assert_eq!(
        browser.ask(&format!("{visible}.every((item) => item.textContent.includes('mallory'))")),
        true
    );
    browser.press("Escape");
    browser.until(&format!("{visible}.length > 2"));
    browser.press("j");
    assert_eq!(browser.ask("document.activeElement.closest('ol').id"), "incidents");
    browser.press("j");
    assert_eq!(browser.ask("document.activeElement.closest('ol').id"), "alerts");
    let outline = browser.ask("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid", "one sees where one is");
    browser.press("k");
    browser.press("j");
    let id = browser.ask("document.activeElement.parentElement.dataset.id");
    browser.press("Enter");
    browser.until("document.querySelector('#timeline')");
    let is_open = format!("document.getElementById('alert-{}').open", id.as_str().unwrap());
    assert_eq!(browser.ask(&is_open), true, "the alert that one came from stands open");
}

/// What somebody would write who expects to be looked at in a browser.
const HOSTILE: &str = "</script><script>window.owned=1</script><img src=x onerror='window.owned=1'>\
                       <svg/onload=window.owned=1><a href=\"javascript:window.owned=1\">x</a>\" onfocus=window.owned=1 autofocus x=\" \
                       ' style='background:url(//198.51.100.1/x) ]]> --> {{7*7}} \u{202e}gpj.exe\u{2066} \u{1b}]0;x\u{7} \u{0} &lt;b&gt;";

fn poison(value: &mut Value) {
    if let Some(text) = value.as_str() {
        *value = json!(format!("{text} {HOSTILE}"));
    }
}

#[test]
fn hostile_strings_are_shown_and_do_nothing() {
    if is_skipped() {
        return;
    }
    let place = Place::new(|event| {
        for path in [
            "/host/name",
            "/host/hostname",
            "/user/name",
            "/process/command_line",
            "/process/working_directory",
        ] {
            event.pointer_mut(path).into_iter().for_each(poison);
        }
        event.pointer_mut("/process/parent/command_line").into_iter().for_each(poison);
    });
    place.add_trail(|record| {
        poison(&mut record["userAgent"]);
        record.pointer_mut("/userIdentity/arn").into_iter().for_each(poison);
        record["requestParameters"]["name"] = json!(HOSTILE);
    });
    let served = Served::new(&place);
    let mut browser = Browser::start();
    browser.look(LOOKS[0]);
    browser.open(&served.address);
    browser.until("document.querySelector('#link').textContent === 'Live'");
    assert_inert(&mut browser, "list");
    // The same through the stream, which the script makes elements of.
    browser.ask("document.querySelector('#link').dataset.at = ''");
    place.add_trail(|record| {
        record["eventID"] = json!(format!("{}f", record["eventID"].as_str().unwrap().trim_end_matches('f')));
        record.pointer_mut("/userIdentity/arn").into_iter().for_each(poison);
    });
    browser.until("document.querySelector('#alerts .fresh')");
    assert_inert(&mut browser, "list after news");
    let addresses = browser.ask("[...document.querySelectorAll('#incidents a')].map((a) => a.href)");
    for address in addresses.as_array().unwrap() {
        browser.open(address.as_str().unwrap());
        browser.until("document.querySelector('main')");
        assert_inert(&mut browser, "report");
    }
    for look in LOOKS {
        is_well(&mut browser, look, "hostile");
    }
    let root = served.root().to_owned();
    assert!(
        browser.asked_for().iter().all(|address| address.starts_with(&root)),
        "{:?}",
        browser.asked_for()
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

fn assert_inert(browser: &mut Browser, name: &str) {
    assert_eq!(browser.ask("typeof window.owned"), "undefined", "{name}");
    let foreign =
        "document.querySelectorAll('img, svg, a[href^=javascript], [onfocus], [style], [autofocus]').length";
    assert_eq!(browser.ask(foreign), 0, "{name}");
    assert_eq!(browser.ask("document.querySelectorAll('script').length"), 1, "{name}");
    let text = browser.ask("document.body.innerText");
    let text = text.as_str().unwrap();
    assert!(text.contains("<script>window.owned=1</script>"), "{name} shows it as it is: {text}");
    assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{1b}', '\u{7}']), "{name}");
}
