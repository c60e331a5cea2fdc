-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_tickets (
	tenant       varbinary(64) NOT NULL,
	kind         varbinary(64) NOT NULL,
	id           varbinary(255) NOT NULL,
	subject      varbinary(255),
	hash         varbinary(32) NOT NULL,
	body         mediumblob NOT NULL,
	attempts     integer NOT NULL,
	max_attempts integer NOT NULL,
	created_at   bigint NOT NULL,
	expires_at   bigint NOT NULL,
	PRIMARY KEY (tenant, kind, id),
	UNIQUE KEY authkit_tickets_latest (tenant, kind, subject),
	KEY authkit_tickets_subject (tenant, subject),
	KEY authkit_tickets_expiry (tenant, expires_at)
) ENGINE = InnoDB;
