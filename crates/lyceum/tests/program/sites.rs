//! Services below prefixes of their own, through the whole program: five lines of configuration, and a browser.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use http::Method;
use lyceum_testkit::{Answer, Visitor};

use crate::support::{PASSWORD, Site};

/// An application that tells what it was sent. `/go` leads to `/next` by an address of its own, with a cookie.
struct Echo {
    address: SocketAddr,
}

impl Echo {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || serve(stream, address));
            }
        });
        Self { address }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(mut stream: TcpStream, address: SocketAddr) {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let answer = if text.to_ascii_lowercase().contains("upgrade: websocket") {
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"
            .to_owned()
    } else if text.starts_with("GET /go ") {
        format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{address}/next?x=1\r\nSet-Cookie: app=1; Path=/\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
    } else {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        )
    };
    let _ = stream.write_all(answer.as_bytes());
}

impl Site {
    fn visitor(&self) -> Visitor {
        Visitor::browser(SocketAddr::from(([127, 0, 0, 1], self.port)))
    }

    async fn logged_in(&self, user: &str) -> Visitor {
        let mut visitor = self.visitor();
        let answer = visitor.log_in(user, PASSWORD).await;
        assert_eq!(answer.status, 302, "{}", answer.text());
        visitor
    }
}

/// What the application was sent: its first line, and the values of a header.
fn sent(answer: &Answer, header: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let start = format!("{header}: ");
    answer
        .text()
        .lines()
        .filter(|line| line.to_ascii_lowercase().starts_with(&start))
        .filter_map(|line| line.get(start.len()..).map(str::to_owned))
        .collect()
}

fn line(answer: &Answer) -> String {
    answer.text().lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn people_come_to_an_application_by_their_login_and_it_knows_who_they_are() {
    let echo = Echo::new();
    let site = Site::new();
    site.add(&format!(
        "[[services]]\nname = \"r\"\nprefix = \"/r/\"\nurl = \"{}\"\nkind = \"rstudio\"\naccess = \"users\"\n\
         [[services]]\nname = \"open\"\nprefix = \"/open/\"\nurl = \"{}\"\nkind = \"generic\"\naccess = \"public\"\n\
         [[services]]\nname = \"old\"\nprefix = \"/old/\"\nkind = \"redirect\"\nredirect_to = \"/r/\"\naccess = \"public\"\n",
        echo.url(),
        echo.url(),
    ));
    let _running = site.serve().await;

    // Whoever is not logged in is led to the login.
    let mut nobody = site.visitor();
    let first = nobody.get("/r").await;
    assert_eq!(first.location(), "/r/");
    let login = nobody.follow("/r/x").await;
    assert!(login.path.starts_with("/hub/login?next="), "{}", login.path);

    // Whoever is, comes to where they wanted to go.
    let mut ada = site.logged_in("ada").await;
    let page = ada.follow("/r/x?y=%2F").await;
    assert_eq!(page.path, "/r/x?y=%2F");
    assert_eq!(line(&page), "GET /x?y=%2F HTTP/1.1");
    assert_eq!(sent(&page, "x-forwarded-user"), ["ada"]);
    assert_eq!(sent(&page, "remote-user"), ["ada"]);
    assert!(
        sent(&page, "cookie")
            .iter()
            .all(|cookie| !cookie.contains("lyceum") && !cookie.contains("jupyterhub"))
    );

    // Nobody says to be somebody else.
    let forged = [("X-Forwarded-User", "root"), ("Remote_User", "root")];
    let page = ada.send(Method::GET, "/r/x", &forged, "").await;
    assert_eq!(sent(&page, "x-forwarded-user"), ["ada"]);
    assert!(!page.text().contains(": root"), "{}", page.text());
    let page = nobody.send(Method::GET, "/open/x", &forged, "").await;
    assert_eq!(line(&page), "GET /open/x HTTP/1.1");
    assert!(!page.text().contains(": root"), "{}", page.text());

    // A logout ends it.
    ada.get("/hub/logout").await;
    assert_eq!(ada.get("/r/x").await.status, 302);
    let redirect = nobody.get("/old/a?b").await;
    assert_eq!((redirect.status, redirect.location()), (302, "/r/a?b"));
}

#[tokio::test]
async fn what_applications_answer_is_right_for_the_browser() {
    let echo = Echo::new();
    let site = Site::new();
    std::fs::create_dir(site.dir.path().join("files")).unwrap();
    std::fs::write(site.dir.path().join("files/a b.txt"), "of a file").unwrap();
    site.add(&format!(
        "[[services]]\nname = \"r\"\nprefix = \"/r/\"\nurl = \"{}\"\nkind = \"rstudio\"\naccess = \"public\"\n\
         response_headers = {{ X-Course = \"statistics\" }}\nmax_body = \"10B\"\n\
         [[services]]\nname = \"files\"\nprefix = \"/files/\"\nkind = \"static\"\nfolder = \"files\"\naccess = \"public\"\n\
         [[services]]\nname = \"closed\"\nprefix = \"/closed/\"\nkind = \"static\"\nfolder = \"files\"\naccess = \"public\"\n\
         maintenance = \"Back at noon.\"\n\
         [[services]]\nname = \"far\"\nprefix = \"/far/\"\nurl = \"{}\"\nkind = \"generic\"\n\
         access = {{ public = true, networks = [\"203.0.113.0/24\"] }}\n",
        echo.url(),
        echo.url(),
    ));
    let _running = site.serve().await;
    let mut nobody = site.visitor();
    let answer = nobody.get("/r/go").await;
    let own = format!("http://127.0.0.1:{}", site.port);
    assert_eq!(answer.location(), format!("{own}/r/next?x=1"));
    assert_eq!(answer.header("set-cookie"), "app=1; Path=/r/");
    assert_eq!(answer.header("x-course"), "statistics");
    let page = nobody.follow("/r/go").await;
    assert_eq!(line(&page), "GET /next?x=1 HTTP/1.1");
    assert_eq!(sent(&page, "cookie"), ["app=1"]);
    assert_eq!(sent(&page, "x-forwarded-prefix"), ["/r"]);
    assert_eq!(sent(&page, "x-rstudio-root-path"), ["/r"]);
    let whole = format!("{own}/r/next?x=1");
    assert_eq!(sent(&page, "x-rstudio-request"), [whole]);
    assert_eq!(sent(&page, "x-forwarded-proto"), ["http"]);

    let large = nobody
        .send(Method::POST, "/r/x", &[], "more than ten")
        .await;
    assert_eq!(large.status, 413);
    let file = nobody.get("/files/a%20b.txt").await;
    assert_eq!((file.status, file.text().as_str()), (200, "of a file"));
    let closed = nobody.get("/closed/a").await;
    assert_eq!(closed.status, 503);
    assert!(closed.text().contains("Back at noon."), "{}", closed.text());
    assert!(!closed.header("retry-after").is_empty());
    assert_eq!(nobody.get("/far/").await.status, 403);
}

#[tokio::test]
async fn programs_come_with_a_token_which_the_application_never_sees() {
    let echo = Echo::new();
    let site = Site::new();
    site.add(&format!(
        "[[services]]\nname = \"bot\"\napi_token = \"bot-0123456789abcdef\"\nscopes = [\"access:services!service=app\"]\n\
         [[services]]\nname = \"app\"\nprefix = \"/app/\"\nurl = \"{}\"\nkind = \"generic\"\naccess = {{ users = [\"ada\"] }}\n",
        echo.url(),
    ));
    let _running = site.serve().await;
    let ask = async |token: &str| {
        let authorization = format!("token {token}");
        let headers = [("authorization", authorization.as_str())];
        site.visitor()
            .send(Method::POST, "/app/x", &headers, "")
            .await
    };
    let answer = ask("bot-0123456789abcdef").await;
    assert_eq!(line(&answer), "POST /app/x HTTP/1.1");
    assert!(!answer.text().contains("bot-0123"), "{}", answer.text());
    assert_eq!(ask("somebody-elses-token").await.status, 401);
    let mut bob = site.logged_in("bob").await;
    let refusal = bob.follow("/app/").await;
    assert_eq!(refusal.status, 403, "{}", refusal.text());
}
