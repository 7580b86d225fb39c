-- +goose Up
CREATE TABLE recovery_point (
    arn              TEXT   NOT NULL PRIMARY KEY,
    account          TEXT   NOT NULL,
    region           TEXT   NOT NULL,
    vault            TEXT   NOT NULL,
    point            TEXT   NOT NULL, -- id in the vault's repository
    receipt          BLOB   NOT NULL, -- proof of commit from the repository, opaque here
    source_vault_arn TEXT   NOT NULL,
    source_arn       TEXT   NOT NULL,
    source_account   TEXT   NOT NULL,
    resource_arn     TEXT   NOT NULL,
    resource_type    TEXT   NOT NULL,
    resource_name    TEXT   NOT NULL,
    plan_id          TEXT   NOT NULL,
    created_by       TEXT   NOT NULL, -- JSON
    role_arn         TEXT   NOT NULL,
    status           TEXT   NOT NULL,
    status_message   TEXT   NOT NULL,
    created          BIGINT NOT NULL,
    initiated        BIGINT NOT NULL,
    completed        BIGINT NOT NULL,
    size_bytes       BIGINT NOT NULL,
    key_arn          TEXT   NOT NULL,
    lifecycle        TEXT   NOT NULL, -- JSON
    cold_at          BIGINT NOT NULL, -- 0: never
    delete_at        BIGINT NOT NULL, -- 0: never
    storage_class    TEXT   NOT NULL,
    restore_metadata TEXT   NOT NULL, -- JSON
    last_restored    BIGINT NOT NULL,
    parent_arn       TEXT   NOT NULL,
    continuous       BIGINT NOT NULL,
    retry_at         BIGINT NOT NULL DEFAULT 0, -- EXPIRED: when to try the deletion again
    FOREIGN KEY (account, region, vault) REFERENCES vault (account, region, name)
);
CREATE INDEX recovery_point_by_vault ON recovery_point (account, region, vault, created, arn);
CREATE INDEX recovery_point_by_resource ON recovery_point (account, region, resource_arn, created, arn);
CREATE INDEX recovery_point_expiring ON recovery_point (delete_at) WHERE delete_at > 0;
CREATE INDEX recovery_point_cooling ON recovery_point (cold_at) WHERE cold_at > 0 AND storage_class = 'WARM';
