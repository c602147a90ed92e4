//! What happens when too many servers are wanted.

use super::model_of;
use crate::failure::ensure;
use crate::list::{List, Profile};

pub(super) fn add(list: &mut List) {
    list.area("limits");
    limits(list);
}

fn limits(list: &mut List) {
    list.needs(Profile::Limited);
    list.case("one server too many is 429, without Retry-After", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        case.start(&ada, "")?;
        case.admin()
            .post(format!("users/{bob}/server"))
            .refused(429)?
            .lacks_header("Retry-After")?;
        let body = model_of(case, &bob, "")?;
        ensure!(body["stopped"] == true, "model {body}");
        case.stop(&ada, "")?;
        case.start(&bob, "")?;
        case.stop(&bob, "")
    });
    list.case("one named server too many is 400", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        for method in ["PUT", "POST"] {
            case.admin()
                .request(method, format!("users/{ada}/servers/desk"))
                .refused(400)?;
        }
        case.start(&ada, "lab")?;
        case.stop(&ada, "lab")
    });
    list.case(
        "the default server does not count among the named ones",
        |case| {
            let ada = case.user("ada")?;
            case.stopped_server(&ada, "lab")?;
            case.start(&ada, "")?;
            case.stop(&ada, "")
        },
    );
    list.needs(Profile::Narrow);
    list.case(
        "too many starts at a time are 429 with Retry-After",
        |case| {
            let (ada, bob) = (case.user("ada")?, case.user("bob")?);
            case.admin()
                .post(format!("users/{ada}/servers/slow"))
                .expect(202)?;
            let answer = case
                .admin()
                .post(format!("users/{bob}/server"))
                .refused(429)?;
            let seconds: u32 = answer
                .header("Retry-After")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            ensure!(
                (30..=60).contains(&seconds),
                "Retry-After {:?}",
                answer.header("Retry-After")
            );
            let path = format!("users/{ada}/servers/slow");
            case.wait_until("it is ready", || {
                Ok(case.admin().get(&path).quiet().expect(200)?.json()?["ready"] == true)
            })?;
            case.start(&bob, "")?;
            case.stop(&bob, "")?;
            case.stop(&ada, "slow")
        },
    );
    list.case(
        "a page that cannot start a server for that reason is 429 too",
        |case| {
            let (ada, bob) = (case.user("ada")?, case.user("bob")?);
            let browser = case.browser_of(&bob)?;
            case.admin()
                .post(format!("users/{ada}/servers/slow"))
                .expect(202)?;
            let answer = browser
                .open(format!("/hub/spawn/{bob}"))
                .expect(429)?
                .page()?;
            ensure!(answer.header("Retry-After").is_some(), "no Retry-After");
            let path = format!("users/{ada}/servers/slow");
            case.wait_until("it is ready", || {
                Ok(case.admin().get(&path).quiet().expect(200)?.json()?["ready"] == true)
            })?;
            case.stop(&ada, "slow")
        },
    );
}
