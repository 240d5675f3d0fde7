//! The registry is a real one, and what tests do to it takes effect at once.

use testenv::Registry;
use testenv::crane::docker_config;

#[tokio::test]
async fn pushes_and_pulls_with_the_right_password_only() {
    let registry = Registry::start().await.unwrap();
    let (host, crane) = (registry.host(), registry.crane());
    let image = format!("{host}/team/app:v1");
    registry.set_password("alice", "right").unwrap();
    let pushed = crane.push(&image, "alice", "right").await.unwrap();

    let pulled = crane.pull(&image, &docker_config(&host, "alice", "right")).await.unwrap();
    assert_eq!(pulled.digest, pushed);
    assert_eq!(registry.failed_logins("alice").unwrap(), 0);

    let refused = crane.pull(&image, &docker_config(&host, "alice", "wrong")).await.unwrap_err();
    assert!(format!("{refused:#}").contains("UNAUTHORIZED"), "{refused:#}");
    assert!(registry.failed_logins("alice").unwrap() > 0);
    crane.pull(&image, &docker_config(&host, "mallory", "right")).await.unwrap_err();
    assert!(registry.failed_logins("mallory").unwrap() > 0);

    let log = registry.access_log().unwrap();
    assert!(log.iter().any(|access| access.path == "/v2/" && access.status == 401 && !access.authorization));
    let manifest = "/v2/team/app/manifests/v1";
    assert!(log.iter().any(|access| access.path == manifest && access.method == "PUT" && access.status == 201));
}

#[tokio::test]
async fn a_changed_password_holds_for_the_next_request() {
    let registry = Registry::start().await.unwrap();
    let (host, crane) = (registry.host(), registry.crane());
    let image = format!("{host}/app:v1");
    // Several within one tick of a coarse clock.
    for round in 0..4 {
        let password = format!("password-{round}");
        registry.set_password("alice", &password).unwrap();
        crane.push(&image, "alice", &password).await.unwrap();
        let old = format!("password-{}", round - 1);
        crane.pull(&image, &docker_config(&host, "alice", &old)).await.unwrap_err();
    }
    registry.remove_user("alice").unwrap();
    crane.pull(&image, &docker_config(&host, "alice", "password-3")).await.unwrap_err();
}

#[tokio::test]
async fn comes_back_at_the_same_address_with_what_it_stored() {
    let registry = Registry::start().await.unwrap();
    let (host, crane) = (registry.host(), registry.crane());
    let image = format!("{host}/app:v1");
    let config = docker_config(&host, "alice", "right");
    registry.set_password("alice", "right").unwrap();
    let pushed = crane.push(&image, "alice", "right").await.unwrap();

    registry.pause();
    let away = crane.pull(&image, &config).await.unwrap_err();
    assert!(format!("{away:#}").contains("connection refused"), "{away:#}");

    registry.resume().await.unwrap();
    assert_eq!(registry.host(), host);
    assert_eq!(crane.pull(&image, &config).await.unwrap().digest, pushed);
}
