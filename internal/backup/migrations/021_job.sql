-- +goose Up
CREATE TABLE backup_job (
    account       TEXT   NOT NULL,
    region        TEXT   NOT NULL,
    id            TEXT   NOT NULL,
    state         TEXT   NOT NULL,
    message       TEXT   NOT NULL,
    category      TEXT   NOT NULL,
    resource_arn  TEXT   NOT NULL,
    resource_type TEXT   NOT NULL,
    vault         TEXT   NOT NULL,
    point_arn     TEXT   NOT NULL,
    plan_id       TEXT   NOT NULL, -- '': on demand
    rule_id       TEXT   NOT NULL,
    scheduled     BIGINT NOT NULL, -- 0: on demand
    created       BIGINT NOT NULL,
    started       BIGINT NOT NULL,
    completed     BIGINT NOT NULL,
    start_by      BIGINT NOT NULL,
    complete_by   BIGINT NOT NULL,
    permille      BIGINT NOT NULL, -- of the work done
    size_bytes    BIGINT NOT NULL,
    transferred   BIGINT NOT NULL,
    spec          TEXT   NOT NULL, -- JSON
    PRIMARY KEY (account, region, id)
);
-- One job per run of a rule and resource, whatever the clock does and however many nodes look at it.
CREATE UNIQUE INDEX backup_job_run ON backup_job (account, region, plan_id, rule_id, scheduled, resource_arn) WHERE scheduled > 0;
CREATE INDEX backup_job_by_age ON backup_job (region, account, created, id);
CREATE INDEX backup_job_by_resource ON backup_job (account, region, resource_arn, created, id);
CREATE INDEX backup_job_waiting ON backup_job (start_by) WHERE state IN ('CREATED', 'PENDING');
CREATE INDEX backup_job_active ON backup_job (account, resource_arn) WHERE state IN ('RUNNING', 'ABORTING');
CREATE INDEX backup_job_queued ON backup_job (account, resource_arn) WHERE state IN ('CREATED', 'PENDING');

CREATE TABLE copy_job (
    account                TEXT   NOT NULL, -- of the source
    region                 TEXT   NOT NULL,
    id                     TEXT   NOT NULL,
    state                  TEXT   NOT NULL,
    message                TEXT   NOT NULL,
    category               TEXT   NOT NULL,
    resource_arn           TEXT   NOT NULL,
    resource_type          TEXT   NOT NULL,
    source_vault           TEXT   NOT NULL,
    source_point_arn       TEXT   NOT NULL,
    destination_vault_arn  TEXT   NOT NULL,
    destination_point_arn  TEXT   NOT NULL, -- '' until the job has started
    backup_job             TEXT   NOT NULL, -- whose copy action it is; '': on demand
    created                BIGINT NOT NULL,
    started                BIGINT NOT NULL,
    completed              BIGINT NOT NULL,
    size_bytes             BIGINT NOT NULL,
    transferred            BIGINT NOT NULL,
    spec                   TEXT   NOT NULL, -- JSON
    PRIMARY KEY (account, region, id)
);
CREATE INDEX copy_job_by_age ON copy_job (region, account, created, id);
CREATE INDEX copy_job_active ON copy_job (account, resource_arn) WHERE state = 'RUNNING';
CREATE INDEX copy_job_queued ON copy_job (account, resource_arn) WHERE state = 'CREATED';

CREATE TABLE restore_job (
    account       TEXT   NOT NULL,
    region        TEXT   NOT NULL,
    id            TEXT   NOT NULL,
    state         TEXT   NOT NULL,
    message       TEXT   NOT NULL,
    resource_arn  TEXT   NOT NULL, -- that the recovery point is of
    resource_type TEXT   NOT NULL,
    vault         TEXT   NOT NULL,
    point_arn     TEXT   NOT NULL,
    point_created BIGINT NOT NULL,
    created_arn   TEXT   NOT NULL, -- what the restore made
    created       BIGINT NOT NULL,
    started       BIGINT NOT NULL,
    completed     BIGINT NOT NULL,
    permille      BIGINT NOT NULL,
    size_bytes    BIGINT NOT NULL,
    spec          TEXT   NOT NULL, -- JSON
    PRIMARY KEY (account, region, id)
);
CREATE INDEX restore_job_by_age ON restore_job (region, account, created, id);
CREATE INDEX restore_job_by_resource ON restore_job (account, region, resource_arn, point_created, id);

-- What the idempotency tokens of Start calls have started.
CREATE TABLE start_token (
    account   TEXT   NOT NULL,
    region    TEXT   NOT NULL,
    operation TEXT   NOT NULL,
    token     TEXT   NOT NULL,
    digest    TEXT   NOT NULL, -- of the request
    job_id    TEXT   NOT NULL,
    created   BIGINT NOT NULL,
    PRIMARY KEY (account, region, operation, token)
);
