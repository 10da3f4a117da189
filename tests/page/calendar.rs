//! The calendar, read by a library that isn't the one that wrote it, and drawn as people see it.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::{
    DESKTOP,
    browser::Browser,
    fleet::{CONNECTIONS, SHARERS, listed},
    library,
};

/// Gives the page the library by which Thunderbird reads calendars.
async fn with_reader(browser: &mut Browser, test: &str) -> Option<()> {
    let reader = library(test, "ical.js/dist/ical.es5.min.cjs")?;
    let load = format!(
        "(() => {{ const module = {{exports: {{}}}}; let exports = module.exports; {reader};\n window.ICAL = module.exports; }})()"
    );
    browser.value(&load).await;
    Some(())
}

/// All events of a calendar.
const READ: &str = "(text => {
    const calendar = new ICAL.Component(ICAL.parse(text));
    return {
        version: calendar.getFirstPropertyValue('version'), name: calendar.getFirstPropertyValue('x-wr-calname'),
        refresh: calendar.getFirstPropertyValue('refresh-interval').toSeconds(),
        events: calendar.getAllSubcomponents('vevent').map(component => {
            const event = new ICAL.Event(component);
            return {
                uid: event.uid, title: event.summary, description: event.description,
                start: event.startDate.toString(), end: event.endDate.toString(), allDay: event.startDate.isDate,
                stamp: component.getFirstPropertyValue('dtstamp').toString(),
                alarms: component.getAllSubcomponents('valarm').map(alarm => ({
                    action: alarm.getFirstPropertyValue('action'), text: alarm.getFirstPropertyValue('description'),
                    days: alarm.getFirstPropertyValue('trigger').toSeconds() / 86400,
                })),
            };
        }),
    };
})";

#[tokio::test]
async fn another_library_reads_days_and_alarms() {
    let test = "another_library_reads";
    let Some(mut browser) = crate::browser(test).await else { return };
    if with_reader(&mut browser, test).await.is_none() {
        return;
    }
    let text = fs::read_to_string(listed("ics").await).expect("a calendar");
    let read = browser.value(&format!("{READ}({})", json!(text))).await;
    assert_eq!((&read["version"], &read["name"]), (&json!("2.0"), &json!("Bitbucket tokens")));
    assert_eq!(read["refresh"], 3600);
    let events = read["events"].as_array().expect("events");
    // One for each token, however many share it: those of ten teams are shared.
    assert_eq!(events.len(), CONNECTIONS - SHARERS + 10);
    let uids: BTreeSet<_> = events.iter().map(|event| event["uid"].as_str()).collect();
    assert_eq!(uids.len(), events.len(), "an id is one event's alone");
    for event in events {
        assert_eq!(event["allDay"], true, "{event}");
        let day =
            |field: &str| event[field].as_str().expect("a date").parse::<jiff::civil::Date>().expect("a date alone");
        assert_eq!(day("end"), day("start").tomorrow().expect("a day"), "{event}");
        let alarms = event["alarms"].as_array().expect("alarms");
        let days: Vec<_> = alarms.iter().filter_map(|alarm| alarm["days"].as_i64()).collect();
        assert_eq!(days, [-30, -14, -7, -1], "{event}");
        assert!(alarms.iter().all(|alarm| alarm["action"] == "DISPLAY" && alarm["text"] != json!("")), "{event}");
    }
    let of = |secret: &str| events.iter().find(|event| event["uid"] == format!("{secret}@connections.kms.hanzo.ai"));
    let shared = of("bitbucket-token.payments").expect("an event of the Secret that is shared");
    let description = shared["description"].as_str().expect("a description");
    assert!(description.starts_with("#payments-on-call: create a new API token"), "{description}");
    for name in ["api", "checkout", "ledger", "reports"] {
        assert!(description.contains(&format!("\n- {name} (Ready ")), "{description}");
    }
}

/// A picture of next month, as a calendar of a web page draws it; nothing without the libraries.
pub async fn drawn(browser: &mut Browser) -> Option<Vec<u8>> {
    let test = "the_pictures";
    let part = |path: &str| library(test, &format!("fullcalendar/{path}"));
    let styles = [part("skeleton.css")?, part("themes/classic/theme.css")?, part("themes/classic/palette.css")?];
    let ics = listed("ics").await;
    let page = ics.with_file_name("calendar.html");
    let body = "<main id=calendar style='padding: 1rem; font: 14px sans-serif'></main>";
    fs::write(&page, format!("<!doctype html><meta charset=utf-8><style>{}</style>{body}", styles.concat())).ok()?;
    browser.look("light", "screen").await;
    browser.open(&page, DESKTOP).await;
    with_reader(browser, test).await?;
    for script in ["all/global.js", "themes/classic/global.js"] {
        browser.value(&format!("(0, eval)({}); 1", json!(part(script)?))).await;
    }
    let text = json!(fs::read_to_string(ics).ok()?);
    let draw = format!(
        "(() => {{ const events = {READ}({text}).events; const next = new Date(); next.setMonth(next.getMonth() + 1, 1); \
         new FullCalendar.Calendar(document.querySelector('#calendar'), {{initialView: 'dayGridMonth', initialDate: next, \
         height: 860, dayMaxEvents: 4, headerToolbar: {{start: 'title', center: '', end: ''}}, events}}).render(); \
         return document.querySelectorAll('#calendar *').length; }})()"
    );
    let drawn: Value = browser.value(&draw).await;
    assert!(drawn.as_u64() > Some(100), "{drawn}");
    Some(browser.picture().await)
}
