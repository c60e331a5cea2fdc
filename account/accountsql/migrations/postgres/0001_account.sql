-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_account_jobs (
	tenant     text COLLATE "C" NOT NULL,
	id         text COLLATE "C" NOT NULL,
	body       bytea NOT NULL,
	attempts   integer NOT NULL,
	due_at     bigint NOT NULL,
	expires_at bigint NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX IF NOT EXISTS authkit_account_jobs_due ON authkit_account_jobs (tenant, due_at);
CREATE INDEX IF NOT EXISTS authkit_account_jobs_expiry ON authkit_account_jobs (tenant, expires_at);
CREATE TABLE IF NOT EXISTS authkit_account_times (
	tenant     text COLLATE "C" NOT NULL,
	id         text COLLATE "C" NOT NULL,
	times      text NOT NULL,
	version    bigint NOT NULL,
	expires_at bigint NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX IF NOT EXISTS authkit_account_times_expiry ON authkit_account_times (tenant, expires_at);
