//! The page at `/`: its files, and what the browser may do with them.

use serde_json::Value;

use super::server::{Server, run};

#[test]
fn the_page_is_whole_and_fetches_nothing_from_elsewhere() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        let mut texts = Vec::new();
        for (path, kind) in [
            ("/", "text/html"),
            ("/page.css", "text/css"),
            ("/page.js", "text/javascript"),
        ] {
            let response = server.get(path).await;
            assert_eq!(response.status(), 200, "{path}");
            let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("content-type"), format!("{kind}; charset=utf-8"));
            assert_eq!(header("x-content-type-options"), "nosniff");
            let policy = header("content-security-policy");
            assert!(
                policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"),
                "{policy}"
            );
            texts.push(response.text().await.unwrap());
        }
        let [html, css, script] = texts.try_into().unwrap();
        // What the policy would stop is not tried: inline scripts, styles and handlers, other servers.
        assert!(!html.contains("<style") && !html.contains("style=") && !html.contains("<script>"));
        let has_handler = html
            .split(['<', ' ', '\n'])
            .any(|word| word.starts_with("on") && word.contains('='));
        assert!(!has_handler, "{html}");
        for text in [&html, &css, &script] {
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http:") && !elsewhere.contains("https:") && !elsewhere.contains("@import"));
        }
        // The model's text becomes text alone.
        for markup in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
        ] {
            assert!(!script.contains(markup), "{markup}");
        }
        // Every element that the script looks for is there.
        for part in script.split("at(\"").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(html.contains(&format!("id=\"{name}\"")), "{name}");
        }
        // A token is neither stored nor put into an address.
        assert!(!script.contains("Storage") && !script.contains("cookie") && !script.contains("location"));

        let wrong = server.post_to("/page.js", "{}").await;
        assert_eq!(wrong.status(), 405);
        // The slider ends where the server does.
        let models: Value = serde_json::from_str(&server.get("/v1/models").await.text().await.unwrap()).unwrap();
        let limits = &models["data"][0]["anytime"];
        assert_eq!(limits["max_thinking"], 200, "{models}");
        assert_eq!(
            (limits["budgets"][3].as_u64(), limits["max_summaries"].as_u64()),
            (Some(32), Some(16))
        );
    });
}
