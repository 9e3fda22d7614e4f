//! Mails as pictures, to be looked at: in light and dark, on a phone and on a desk. Run by hand after a change to
//! `templates/mail.mjml` or to what a mail says:
//!
//! ```sh
//! cargo test --test notifiers -- --ignored mail_gallery
//! ```
//!
//! writes `target/mail/*.html` and, where a Chromium is found, `*-{phone,desk}-{light,dark}.png`.

use std::path::{Path, PathBuf};
use std::process::Command;

use tardy::engine::notification::Notification;

use crate::told;
use crate::world::{Kind, Mail, World, chart, deliver_with, handle_of};

const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// Names, with whether a chart goes with it.
fn stories() -> Vec<(&'static str, Notification, bool)> {
    vec![
        ("first", told::first(), false),
        ("chart", told::first(), true),
        ("reminder", told::reminder(2), false),
        ("acknowledged", told::acknowledged(3), false),
        ("silenced", told::silenced(3), false),
        ("ended", told::recovered(4), false),
        ("many", told::many(), true),
        ("notice", told::notice(), false),
        ("hostile", told::hostile(&told::HOSTILE.join(" ")), false),
        ("long", told::long("unbroken_name_"), false),
    ]
}

#[tokio::test]
#[ignore = "to be looked at by people; writes target/mail"]
async fn mail_gallery() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/mail");
    std::fs::create_dir_all(&folder).unwrap();
    let browser = BROWSERS.iter().find_map(|name| installed(name));
    for (name, notification, has_chart) in stories() {
        let world = World::new(Kind::Email).await;
        let picture = chart();
        let picture = has_chart.then_some(&picture);
        handle_of(deliver_with(&*world.notifier(), &notification, None, picture).await);
        let page = folder.join(format!("{name}.html"));
        std::fs::write(&page, shown(&world.mails()[0], &folder)).unwrap();
        let Some(browser) = &browser else {
            println!("no Chromium found: look at {}", page.display());
            continue;
        };
        for (place, width) in [("phone", 390), ("desk", 900)] {
            for theme in ["light", "dark"] {
                let file = folder.join(format!("{name}-{place}-{theme}.png"));
                photograph(browser, &page, &file, width, theme);
                println!("wrote {}", file.display());
            }
        }
    }
}

/// The HTML as a mail program shows it: the parts it names are files beside it.
fn shown(mail: &Mail, folder: &Path) -> String {
    let mut html = mail.html.clone();
    for (id, name, bytes) in &mail.inline {
        std::fs::write(folder.join(name), bytes).unwrap();
        html = html.replace(&format!("cid:{id}"), name);
    }
    html
}

#[allow(clippy::disallowed_methods)] // where programs are
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(name));
    found.find(|file| file.is_file())
}

/// A window is no narrower than 500 pixels: a page of its own holds one that is.
fn photograph(browser: &Path, page: &Path, file: &Path, width: u32, theme: &str) {
    let frame = page.with_extension(format!("{width}.frame.html"));
    let name = page.file_name().unwrap().to_str().unwrap();
    let html = format!(
        "<!doctype html><meta name=\"color-scheme\" content=\"light dark\">\
         <body style=\"margin:0\"><iframe src=\"{name}\" style=\"border:0;width:{width}px;height:1600px\"></iframe>"
    );
    std::fs::write(&frame, html).unwrap();
    let dark = u8::from(theme == "light");
    let status = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
        ])
        .args([
            "--force-device-scale-factor=1",
            "--virtual-time-budget=2000",
        ])
        .arg(format!("--window-size={},1600", width.max(500)))
        .arg(format!("--blink-settings=preferredColorScheme={dark}"))
        .arg(format!("--screenshot={}", file.display()))
        .arg(format!("file://{}", frame.display()))
        .output()
        .unwrap();
    std::fs::remove_file(&frame).unwrap();
    assert!(
        file.is_file(),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );
}
