module github.com/authkit-go/authkit/cmd

go 1.26.0

require (
	github.com/authkit-go/authkit v0.0.0
	github.com/go-sql-driver/mysql v1.10.1
	github.com/jackc/pgx/v5 v5.12.0
	modernc.org/sqlite v1.62.0
)

replace github.com/authkit-go/authkit => ../
