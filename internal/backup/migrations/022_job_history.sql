-- +goose Up
CREATE INDEX backup_job_ended ON backup_job (completed) WHERE completed > 0;
CREATE INDEX copy_job_ended ON copy_job (completed) WHERE completed > 0;
CREATE INDEX restore_job_ended ON restore_job (completed) WHERE completed > 0;
CREATE INDEX start_token_made ON start_token (created);
