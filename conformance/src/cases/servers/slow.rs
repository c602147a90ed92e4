//! Servers that take their time: pending ones, their progress, starts that fail, stops that last.

use serde_json::{Value, json};

use super::model_of;
use crate::failure::{ensure, same};
use crate::list::{List, Profile};

pub(super) fn add(list: &mut List) {
    list.area("slow servers");
    list.needs(Profile::Brisk);
    slow(list);
}

/// Events of a progress stream.
fn events(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

fn slow(list: &mut List) {
    list.case(
        "a start that takes longer is 202, and the server pending",
        |case| {
            let ada = case.user("ada")?;
            let path = format!("users/{ada}/servers/slow");
            case.admin()
                .post(&path)
                .expect(202)?
                .empty()?
                .has_type("text/plain")?;
            let body = model_of(case, &ada, "slow")?;
            ensure!(
                body["pending"] == "spawn" && body["ready"] == false && body["stopped"] == false,
                "model {body}"
            );
            case.admin().post(&path).expect(202)?;
            let user = case.admin().read(format!("users/{ada}"))?;
            ensure!(user["servers"]["slow"]["pending"] == "spawn", "user {user}");
            ensure!(user["server"].is_null(), "user {user}");
            case.wait_until("it is ready", || {
                Ok(case.admin().get(&path).quiet().expect(200)?.json()?["ready"] == true)
            })?;
            case.admin()
                .delete(&path)
                .send()?
                .either(&[202, 204], "depends on the machine")?;
            Ok(())
        },
    );
    list.case(
        "progress begins at 0 and ends at 100 with the URL",
        |case| {
            let ada = case.user("ada")?;
            let path = format!("users/{ada}/servers/slow");
            case.admin().post(&path).expect(202)?;
            let answer = case
                .admin()
                .get(format!("{path}/progress"))
                .expect(200)?
                .has_type("text/event-stream")?
                .has_header("Cache-Control", "no-cache")?;
            let events = events(&answer.text());
            let (first, last) = (
                events.first().cloned().unwrap_or_default(),
                events.last().cloned().unwrap_or_default(),
            );
            ensure!(
                first["progress"] == 0 && first["message"].is_string(),
                "first event {first}"
            );
            ensure!(
                last["progress"] == 100 && last["ready"] == true,
                "last event {last}"
            );
            same!(
                last["url"],
                json!(format!("{}/user/{ada}/slow/", case.target.base)),
                "url"
            );
            ensure!(
                last["message"].is_string() && last["html_message"].is_string(),
                "last event {last}"
            );
            for event in events.iter().rev().skip(1) {
                ensure!(
                    event.get("ready").is_none() && event.get("failed").is_none(),
                    "event {event}"
                );
            }
            case.stop(&ada, "slow")
        },
    );
    list.case(
        "the stream begins with empty lines, so that it arrives at once",
        |case| {
            let ada = case.user("ada")?;
            let path = format!("users/{ada}/servers/slow");
            case.admin().post(&path).expect(202)?;
            let answer = case
                .admin()
                .get(format!("{path}/progress"))
                .send_until(Some(&|body| body.len() > 20))?;
            ensure!(
                answer.text().starts_with("\n\n"),
                "begins {:?}",
                answer.text()
            );
            case.admin()
                .delete(&path)
                .send()?
                .either(&[202, 204], "depends on the machine")?;
            Ok(())
        },
    );
    list.case("progress of a ready server is its end alone", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let answer = case
            .admin()
            .get(format!("users/{ada}/server/progress"))
            .expect(200)?;
        let events = events(&answer.text());
        same!(events.len(), 1, "events");
        let last = events.first().cloned().unwrap_or_default();
        ensure!(
            last["progress"] == 100 && last["ready"] == true,
            "event {last}"
        );
        case.stop(&ada, "")
    });
    list.refused(
        "progress of a default server that never ran is 404",
        404,
        |case| {
            let ada = case.user("ada")?;
            Ok(case.admin().get(format!("users/{ada}/server/progress")))
        },
    );
    list.refused("progress of a stopped named server is 400", 400, |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        Ok(case
            .admin()
            .get(format!("users/{ada}/servers/lab/progress")))
    });
    list.refused(
        "progress of a server that does not exist is 404",
        404,
        |case| {
            let ada = case.user("ada")?;
            Ok(case
                .admin()
                .get(format!("users/{ada}/servers/none/progress")))
        },
    );
    list.case("DELETE ends a start that is under way", |case| {
        let ada = case.user("ada")?;
        let path = format!("users/{ada}/servers/slow");
        case.admin().post(&path).expect(202)?;
        case.admin()
            .delete(&path)
            .send()?
            .either(&[202, 204], "depends on the machine")?;
        case.wait_until("it has stopped", || {
            Ok(case.admin().get(&path).quiet().expect(200)?.json()?["stopped"] == true)
        })
    });
    list.case(
        "a stop that takes longer is 202, and the server pending",
        |case| {
            let ada = case.user("ada")?;
            let path = format!("users/{ada}/servers/stubborn");
            case.start(&ada, "stubborn")?;
            case.admin().delete(&path).expect(202)?.empty()?;
            let body = model_of(case, &ada, "stubborn")?;
            ensure!(
                body["pending"] == "stop" && body["ready"] == false && body["stopped"] == false,
                "model {body}"
            );
            case.admin().post(&path).refused(400)?;
            case.admin().delete(&path).expect(202)?;
            case.wait_until("it has stopped", || {
                Ok(case.admin().get(&path).quiet().expect(200)?.json()?["stopped"] == true)
            })
        },
    );
    list.case(
        "a user whose default server is stopping cannot be removed",
        |case| {
            let ada = case.user("stubborn")?;
            case.start(&ada, "")?;
            case.admin()
                .delete(format!("users/{ada}/server"))
                .expect(202)?;
            case.admin().delete(format!("users/{ada}")).refused(400)?;
            case.wait_until("it has stopped", || {
                Ok(case
                    .admin()
                    .get(format!("users/{ada}/server"))
                    .quiet()
                    .expect(200)?
                    .json()?["stopped"]
                    == true)
            })?;
            case.admin().delete(format!("users/{ada}")).expect(204)?;
            Ok(())
        },
    );
    list.case(
        "a server that dies at its start fails, and says so",
        |case| {
            let ada = case.user("ada")?;
            let path = format!("users/{ada}/servers/dies");
            case.admin().post(&path).send()?.either(
                &[202, 500],
                "JupyterHub notices the end later, Lyceum at once",
            )?;
            case.wait_until("the start has failed", || {
                Ok(case.admin().get(&path).quiet().expect(200)?.json()?["stopped"] == true)
            })?;
            let answer = case.admin().get(format!("{path}/progress")).expect(200)?;
            let events = events(&answer.text());
            let last = events.last().cloned().unwrap_or_default();
            ensure!(
                last["failed"] == true && last["progress"] == 100 && last.get("ready").is_none(),
                "event {last}"
            );
            Ok(())
        },
    );
    list.case(
        "spawn-pending of a pending server is a page, and leads to it when it is ready",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            case.admin()
                .post(format!("users/{ada}/servers/slow"))
                .expect(202)?;
            let page = format!("/hub/spawn-pending/{ada}/slow");
            browser.open(&page).expect(200)?.page()?;
            browser
                .open(format!("/hub/spawn/{ada}/slow"))
                .send()?
                .leads_to_path(302, &format!("{}{page}", case.target.base))?;
            let path = format!("users/{ada}/servers/slow");
            case.wait_until("it is ready", || {
                Ok(case.admin().get(&path).quiet().expect(200)?.json()?["ready"] == true)
            })?;
            browser
                .open(&page)
                .send()?
                .leads_to(302, &format!("{}/user/{ada}/slow/", case.target.base))?;
            case.stop(&ada, "slow")
        },
    );
    list.case("a pending server's path leads to spawn-pending", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        case.admin()
            .post(format!("users/{ada}/servers/slow"))
            .expect(202)?;
        let answer = browser.open(format!("/hub/user/{ada}/slow/tree")).send()?;
        answer.leads_to_path(
            303,
            &format!("{}/hub/spawn-pending/{ada}/slow", case.target.base),
        )?;
        case.admin()
            .delete(format!("users/{ada}/servers/slow"))
            .send()?
            .either(&[202, 204], "depends on the machine")?;
        Ok(())
    });
    list.case(
        "spawn-pending of a failed start is 500 and a page",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            let path = format!("users/{ada}/servers/dies");
            case.admin().post(&path).send()?.either(
                &[202, 500],
                "JupyterHub notices the end later, Lyceum at once",
            )?;
            case.wait_until("the start has failed", || {
                Ok(case.admin().get(&path).quiet().expect(200)?.json()?["stopped"] == true)
            })?;
            browser
                .open(format!("/hub/spawn-pending/{ada}/dies"))
                .expect(500)?
                .page()?;
            Ok(())
        },
    );
}
