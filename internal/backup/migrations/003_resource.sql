-- +goose Up
-- What the agents say exists. An agent replaces all of its rows at once.
CREATE TABLE declared_resource (
    agent   TEXT   NOT NULL,
    account TEXT   NOT NULL,
    region  TEXT   NOT NULL,
    arn     TEXT   NOT NULL,
    type    TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    tags    TEXT   NOT NULL, -- JSON
    seen    BIGINT NOT NULL,
    PRIMARY KEY (account, region, arn, agent)
);
CREATE INDEX declared_resource_by_agent ON declared_resource (agent);

-- One row per resource and vault that holds a finished recovery point of it, with the newest one.
CREATE TABLE protected_resource (
    account      TEXT   NOT NULL,
    region       TEXT   NOT NULL,
    vault        TEXT   NOT NULL,
    resource_arn TEXT   NOT NULL,
    type         TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    last_created BIGINT NOT NULL,
    last_arn     TEXT   NOT NULL,
    PRIMARY KEY (account, region, resource_arn, vault)
);
CREATE INDEX protected_resource_by_vault ON protected_resource (account, region, vault, resource_arn);

-- The latest completed restore of a resource.
CREATE TABLE restored_resource (
    account       TEXT   NOT NULL,
    region        TEXT   NOT NULL,
    resource_arn  TEXT   NOT NULL,
    job_created   BIGINT NOT NULL,
    point_created BIGINT NOT NULL,
    minutes       BIGINT NOT NULL,
    PRIMARY KEY (account, region, resource_arn)
);
