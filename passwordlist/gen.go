//go:build ignore

// Gen writes passwords.txt.gz, the list of this package, from zxcvbn 4.4.2. It needs npm,
// or the package of npm as its argument:
//
//	go run gen.go [zxcvbn-4.4.2.tgz]
package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	source    = "zxcvbn@4.4.2"
	checksum  = "0b3ebb60ec2df2340e1b8b70e4cb2657a3ceb192781d299310e7aceaa606cd22" // SHA-256
	member    = "package/lib/frequency_lists.js"
	minLength = 8 // no Kit accepts a shorter password
)

func main() {
	log.SetFlags(0)
	file := ""
	if len(os.Args) > 1 {
		file = os.Args[1]
	}
	if err := run(file); err != nil {
		log.Fatal(err)
	}
}

func run(file string) error {
	archive, err := load(file)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(archive)
	if hex.EncodeToString(sum[:]) != checksum {
		return fmt.Errorf("the archive has another SHA-256 than %s", checksum)
	}
	script, err := extract(archive)
	if err != nil {
		return err
	}
	match := regexp.MustCompile(`passwords: "([^"]*)"\.split\(","\)`).FindSubmatch(script)
	if match == nil {
		return errors.New("the archive has no list of passwords")
	}
	var list []string
	for password := range strings.SplitSeq(strings.ToLower(string(match[1])), ",") {
		if utf8.RuneCountInString(password) >= minLength {
			list = append(list, password)
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, strings.Join(list, "\n")+"\n")
	if err := cmp.Or(err, w.Close()); err != nil {
		return err
	}
	fmt.Printf("%d passwords, %d bytes\n", len(list), out.Len())
	return os.WriteFile("passwords.txt.gz", out.Bytes(), 0o644)
}

// load returns the archive of the package.
func load(file string) ([]byte, error) {
	if file != "" {
		return os.ReadFile(file)
	}
	dir, err := os.MkdirTemp("", "passwordlist")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	pack := exec.Command("npm", "pack", "--silent", "--pack-destination", dir, source)
	pack.Stderr = os.Stderr
	name, err := pack.Output()
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, filepath.Base(strings.TrimSpace(string(name)))))
}

// extract returns the file with the lists.
func extract(archive []byte) ([]byte, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", member, err)
		}
		if header.Name == member {
			return io.ReadAll(files)
		}
	}
}
