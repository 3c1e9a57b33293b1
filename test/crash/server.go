// SPDX-License-Identifier: BSD-3-Clause
//
// The server under test: started on a data directory, killed, stopped.

package main

import (
	"errors"
	"fmt"
	"io/ioutil"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type server struct {
	process *exec.Cmd
	address string
	log     string
	ended   chan struct{} // closed when the process is gone
}

type serverOptions struct {
	program, dir, policy, io string
	threads                  int
	isAppendOnly             bool
}

func isRedis(program string) bool {
	return strings.Contains(filepath.Base(program), "redis-server")
}

// freePort returns one that no outgoing connection takes in between: below the ephemeral range.
func freePort() (int, error) {
	dice := rand.New(rand.NewSource(time.Now().UnixNano()))
	for tries := 0; ; tries++ {
		port := 11000 + dice.Intn(20000)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, listener.Close()
		} else if tries == 100 {
			return 0, err
		}
	}
}

// startServer does not wait until it answers; ready does.
func startServer(o serverOptions) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{address: fmt.Sprintf("127.0.0.1:%d", port), ended: make(chan struct{}),
		log: filepath.Join(filepath.Dir(o.dir), "log")}
	// The last log alone would not tell what the server before it did.
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	isOn := map[bool]string{true: "yes", false: "no"}[o.isAppendOnly]
	args := []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", o.dir, "--save", "",
		"--appendonly", isOn, "--appendfsync", o.policy, "--auto-aof-rewrite-min-size", "300kb",
		"--auto-aof-rewrite-percentage", "50"}
	if !isRedis(o.program) {
		args = append(args, "--threads", strconv.Itoa(o.threads), "--io", o.io)
	}
	fmt.Fprintf(log, "=== %s %s\n", o.program, strings.Join(args, " "))
	s.process = exec.Command(o.program, args...)
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.process.Wait()
		close(s.ended)
	}()
	return s, nil
}

// ready returns a connection once the data are loaded.
func (s *server) ready() (*conn, error) {
	for deadline := time.Now().Add(readLimit); time.Now().Before(deadline); {
		select {
		case <-s.ended:
			return nil, fmt.Errorf("the server ended: %s", s.process.ProcessState)
		case <-time.After(5 * time.Millisecond):
		}
		c, err := dial(s.address)
		if err != nil {
			continue
		}
		r, err := c.do("PING")
		if err == nil && r.text == "PONG" {
			return c, nil
		}
		c.close()
	}
	return nil, errors.New("the server does not answer")
}

func (s *server) isGone() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// kill returns when the process is gone.
func (s *server) kill() {
	s.process.Process.Kill()
	<-s.ended
}

// stop asks it to end, and returns whether it did so in order.
func (s *server) stop() error {
	s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(readLimit):
		s.kill()
		return errors.New("SIGTERM did not stop the server")
	}
	if !s.process.ProcessState.Success() {
		return fmt.Errorf("after SIGTERM the server ended: %s", s.process.ProcessState)
	}
	return nil
}

func (s *server) logEnd(lines int) string {
	text, _ := ioutil.ReadFile(s.log)
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

var sanitizers = regexp.MustCompile(
	"(ERROR|WARNING): [A-Z][a-z]+Sanitizer|runtime error: ")

func (s *server) sanitizerReport() string {
	text, _ := ioutil.ReadFile(s.log)
	at := sanitizers.FindIndex(text)
	if at == nil {
		return ""
	}
	return string(text[at[0]:min(len(text), at[0]+6000)])
}

// copyDirectory keeps evidence: what a server finds is not what it leaves.
func copyDirectory(from, to string) error {
	return filepath.Walk(from, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if info.IsDir() {
			return os.MkdirAll(target, 0755)
		}
		data, err := ioutil.ReadFile(path)
		if err != nil {
			return err
		}
		return ioutil.WriteFile(target, data, 0644)
	})
}
