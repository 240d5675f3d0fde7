//! A chosen request meets with its fault, and no other does.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use testenv::{Fault, Faults, Listener, Relay, Reply, namespace};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{DEADLINE, plane};

/// Long enough for an answer to arrive, if there is one.
const A_WHILE: Duration = Duration::from_millis(300);

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

async fn create(client: &Client, namespace: &str, name: &str) -> Result<(), Option<u16>> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    match maps.create(&PostParams::default(), &config_map(name)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(Some(status.code)),
        Err(_) => Err(None),
    }
}

#[tokio::test]
async fn the_second_write_to_the_api_server_meets_with_the_fault_and_the_others_get_through() {
    let plane = plane().await;
    let direct = plane.client().unwrap();
    let namespace = namespace(&direct, "fault").await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(direct.clone(), &namespace);
    for (fault, told, takes_effect) in [
        (Fault::NotSent, None, false),
        (Fault::AnswerLost, None, true),
        (Fault::Answer(409), Some(409), false),
        (Fault::Answer(422), Some(422), false),
        (Fault::Answer(429), Some(429), false),
        (Fault::Answer(500), Some(500), false),
    ] {
        let name = fault.to_string().replace(' ', "-");
        let faults = Faults::new();
        let client = faults.on(direct.clone(), |request| request.verb == "create");
        faults.arm(2, fault);
        create(&client, &namespace, &format!("{name}-1")).await.unwrap();
        Api::<ConfigMap>::namespaced(client.clone(), &namespace).list(&Default::default()).await.unwrap();
        assert_eq!(create(&client, &namespace, &format!("{name}-2")).await, Err(told), "{fault}");
        assert_eq!(maps.get_opt(&format!("{name}-2")).await.unwrap().is_some(), takes_effect, "{fault}");
        create(&client, &namespace, &format!("{name}-3")).await.unwrap();
        assert_eq!(faults.seen().len(), 3, "reads do not count");
        assert_eq!(faults.has_met(), Some("create configmaps".into()));
    }
}

#[tokio::test]
async fn who_is_stopped_at_a_request_gets_nothing_through_any_more_and_its_successor_everything() {
    let plane = plane().await;
    let direct = plane.client().unwrap();
    let namespace = namespace(&direct, "stopped").await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(direct.clone(), &namespace);
    for (fault, takes_effect) in [(Fault::StopBefore, false), (Fault::StopAfter, true)] {
        let name = fault.to_string().replace(' ', "-");
        let faults = Faults::new();
        let client = faults.on(direct.clone(), |_| true);
        faults.arm(1, fault);
        let (sender, space, first) = (client.clone(), namespace.clone(), format!("{name}-1"));
        let stuck = tokio::spawn(async move { create(&sender, &space, &first).await });
        timeout(DEADLINE, faults.met()).await.unwrap();
        assert_eq!(maps.get_opt(&format!("{name}-1")).await.unwrap().is_some(), takes_effect, "{fault}");
        assert!(timeout(A_WHILE, create(&client, &namespace, &format!("{name}-2"))).await.is_err(), "{fault}");
        faults.release();
        assert!(timeout(A_WHILE, create(&client, &namespace, &format!("{name}-2"))).await.is_err(), "still {fault}");
        assert!(!stuck.is_finished());
        stuck.abort();
        let successor = faults.on(direct.clone(), |_| true);
        create(&successor, &namespace, &format!("{name}-3")).await.unwrap();
        assert!(maps.get_opt(&format!("{name}-2")).await.unwrap().is_none(), "{fault}");
    }
}

#[tokio::test]
async fn a_relay_passes_everything_on_but_the_chosen_request() {
    for (fault, told, passed_on) in [
        (Fault::NotSent, "", 2),
        (Fault::AnswerLost, "", 3),
        (Fault::Answer(429), "HTTP/1.1 429 ", 2),
        (Fault::Answer(500), "HTTP/1.1 500 ", 2),
    ] {
        let server = Listener::plain(|seen| Reply::status(200).body(seen.path())).unwrap();
        let relay = Relay::start(&server.host()).await.unwrap();
        relay.faults().arm(2, fault);
        let send = async |line: &str| {
            let mut connection = TcpStream::connect(relay.host()).await.unwrap();
            let head = "Host: x\r\nAuthorization: Basic eDp5\r\nContent-Length: 4\r\n\r\nbody";
            connection.write_all(format!("{line} HTTP/1.1\r\n{head}").as_bytes()).await.unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).await.unwrap();
            answer
        };
        assert!(send("POST /one").await.ends_with("/one"), "{fault}");
        let answer = send("POST /two").await;
        assert!(answer.starts_with(told) && answer.is_empty() == told.is_empty(), "{fault}: {answer}");
        assert!(send("POST /three").await.ends_with("/three"), "{fault}");
        assert_eq!(server.requests().len(), passed_on, "{fault}");
        assert_eq!(relay.faults().seen(), ["POST /one login", "POST /two login", "POST /three login"]);
        assert!(server.was_told("body"));
    }
}
