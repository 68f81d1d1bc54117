//! The pieces of which the file of a host is put together. What ends in `_HERE` is filled in.

pub(super) const ACTOR: &str = r#"x-actor: &actor
  image: ${ANYTIME_IMAGE:-anytime:cuda}
  init: true
  user: ${ANYTIME_USER:-10001:10001}
  restart: unless-stopped
  stop_grace_period: 15s
  cap_drop: ["ALL"]
  security_opt: ["no-new-privileges:true"]
  read_only: true
  tmpfs: ["/tmp"]
  logging:
    driver: json-file
    options: { max-size: 20m, max-file: "5" }
  pids_limit: 4096
  mem_limit: ${ANYTIME_ACTOR_MEMORY:-0}
  command:
    - anytime-actor
    - --learner=https://learner:7100
    - --verifier=https://verifier:7102
    - --metrics-address=0.0.0.0:9101
  environment:
    # The one that the container has. A process that cannot use it says so and ends.
    ANYTIME_DEVICE: cuda
    CUDA_DEVICE_ORDER: PCI_BUS_ID
    # The root is read-only.
    CUDA_CACHE_PATH: /tmp/cuda
    ANYTIME_THREADS: ${ANYTIME_ACTOR_THREADS:-1}
    OMP_NUM_THREADS: ${ANYTIME_ACTOR_THREADS:-1}
    ANYTIME_SLOTS: ${ANYTIME_SLOTS:-256}
    ANYTIME_MEMORY_SHARE: ${ANYTIME_MEMORY_SHARE:-MEMORY_SHARE_HERE}
    ANYTIME_TLS_CA: /run/secrets/ca.pem
    ANYTIME_TOKEN_FILE: /run/secrets/act.token
    ANYTIME_TLS_CERT: /run/secrets/act.pem
    ANYTIME_TLS_KEY: /run/secrets/act.key
    ANYTIME_ACCESS: /run/secrets/access
  secrets:
    - ca.pem
    - act.token
    - act.pem
    - act.key
    - { source: actor.access, target: access }
  # The name by which Prometheus finds actors.
  networks:
    default:
      aliases: [actor]
  healthcheck:
    test: ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9101"]
    interval: 15s
    timeout: 3s
    retries: 10
  depends_on:
    verifier:
      condition: service_healthy
"#;

/// Of an actor beside its learner.
pub(super) const LEARNER_FIRST: &str = r#"    learner:
      condition: service_healthy
"#;

/// Of an actor on another host. The certificate is for the name, so that the address needs none.
pub(super) const LEARNER_ADDRESS: &str = r#"  extra_hosts:
    - "learner:${ANYTIME_LEARNER_ADDRESS:?the IP address of the host with the learner}"
"#;

/// The part of a service that a further rank of the learner is: it computes, keeps nothing on disk, has no job and
/// asks nobody but rank 0.
pub(super) const RANK: &str = r#"x-rank: &rank
  image: ${ANYTIME_IMAGE:-anytime:cuda}
  init: true
  user: ${ANYTIME_USER:-10001:10001}
  restart: unless-stopped
  stop_grace_period: 15s
  cap_drop: ["ALL"]
  security_opt: ["no-new-privileges:true"]
  read_only: true
  tmpfs: ["/tmp"]
  logging:
    driver: json-file
    options: { max-size: 20m, max-file: "5" }
  pids_limit: 4096
  mem_limit: ${ANYTIME_LEARNER_MEMORY:-0}
  command:
    - anytime-learner
    - --metrics-address=0.0.0.0:9100
  secrets:
    - server.pem
    - server.key
    # Prometheus reads its metrics, and that is all.
    - { source: actor.access, target: access }
  networks:
    # The name by which Prometheus finds ranks.
    default:
      aliases: [learner-rank]
    ranks: {}
  healthcheck:
    test: ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9100"]
    interval: 15s
    timeout: 3s
    retries: 10
    start_period: 60s

x-rank-environment: &rank-environment
  ANYTIME_DEVICE: cuda
  CUDA_DEVICE_ORDER: PCI_BUS_ID
  # The root is read-only.
  CUDA_CACHE_PATH: /tmp/cuda
  ANYTIME_THREADS: ${ANYTIME_LEARNER_THREADS:-2}
  OMP_NUM_THREADS: ${ANYTIME_LEARNER_THREADS:-2}
  ANYTIME_WORLD: WORLD_HERE
  ANYTIME_STORE: rank-0:7110
  # A network of their own.
  ANYTIME_TRUST_RANK_NETWORK: "true"
  ANYTIME_TLS_CERT: /run/secrets/server.pem
  ANYTIME_TLS_KEY: /run/secrets/server.key
  ANYTIME_ACCESS: /run/secrets/access
"#;

/// Of rank 0, behind its environment. The name is of that network alone, so that it stands for the address there.
pub(super) const MEETING: &str = r#"      ANYTIME_WORLD: WORLD_HERE
      ANYTIME_STORE: rank-0:7110
      # A network of their own.
      ANYTIME_TRUST_RANK_NETWORK: "true"
    networks:
      default: {}
      queue: {}
      ranks:
        aliases: [rank-0]
"#;

/// Ranks speak without TLS and without tokens.
pub(super) const RANK_NETWORK: &str = r#"networks:
  # Ranks speak without TLS and without tokens. Only they are in this network, from which nothing leads out.
  ranks:
    internal: true
"#;

pub(super) const IMAGES: &str = r#"  verifier:
    image: ${ANYTIME_IMAGE:-anytime:cuda}
  client:
    image: ${ANYTIME_IMAGE:-anytime:cuda}
"#;

pub(super) const NO_POOL: &str = r#"  # The services below take the place of this one.
  actor:
    image: ${ANYTIME_IMAGE:-anytime:cuda}
    scale: 0
"#;

/// Its environment stands last, so that more can follow.
pub(super) const LEARNER: &str = r#"  learner:
    image: ${ANYTIME_IMAGE:-anytime:cuda}
    build:
      args:
        LIBTORCH_FLAVOUR: cuda
    deploy: { resources: { reservations: { devices: [{ driver: nvidia, device_ids: ["DEVICE_ID_HERE"], capabilities: [gpu] }] } } }
    environment:
      ANYTIME_DEVICE: cuda
      CUDA_DEVICE_ORDER: PCI_BUS_ID
      # The root is read-only.
      CUDA_CACHE_PATH: /tmp/cuda
"#;

pub(super) const LEARNER_SHARE: &str = r#"      # An actor computes on the same GPU.
      ANYTIME_MEMORY_SHARE: ${ANYTIME_LEARNER_MEMORY_SHARE:-MEMORY_SHARE_HERE}
"#;

/// Without the variable the learner would be published on loopback, where no other host reaches it.
pub(super) const ADDRESS_NEEDED: &str = r#"    labels:
      anytime.address: "${ANYTIME_BIND:?the address at which other hosts reach this one}:${ANYTIME_LEARNER_PORT:-7100}"
"#;

/// Compose starts no service of a profile that nobody names, and fetches no image of it.
pub(super) const ELSEWHERE: &str = r#"  # These are on the learner's host; the services below take the place of `actor`.
  actor:
    profiles: [elsewhere]
  learner:
    profiles: [elsewhere]
    # To build the image here: docker compose -f … build learner
    image: ${ANYTIME_IMAGE:-anytime:cuda}
    build:
      args:
        LIBTORCH_FLAVOUR: cuda
  redis:
    profiles: [elsewhere]
  redis-exporter:
    profiles: [elsewhere]
  alertmanager:
    profiles: [elsewhere]
  prometheus:
    profiles: [elsewhere]
  grafana:
    profiles: [elsewhere]
"#;
