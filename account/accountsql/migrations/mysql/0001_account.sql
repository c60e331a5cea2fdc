-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_account_jobs (
	tenant     varbinary(64) NOT NULL,
	id         varbinary(255) NOT NULL,
	body       mediumblob NOT NULL,
	attempts   integer NOT NULL,
	due_at     bigint NOT NULL,
	expires_at bigint NOT NULL,
	PRIMARY KEY (tenant, id),
	KEY authkit_account_jobs_due (tenant, due_at),
	KEY authkit_account_jobs_expiry (tenant, expires_at)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS authkit_account_times (
	tenant     varbinary(64) NOT NULL,
	id         varbinary(255) NOT NULL,
	times      text NOT NULL,
	version    bigint NOT NULL,
	expires_at bigint NOT NULL,
	PRIMARY KEY (tenant, id),
	KEY authkit_account_times_expiry (tenant, expires_at)
) ENGINE = InnoDB;
