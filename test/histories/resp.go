// SPDX-License-Identifier: BSD-3-Clause
//
// One connection, and replies in a canonical text form: what a history records and a
// model predicts is a string, so that comparing is comparing strings.
//
//	+OK  :5  $text  nil (either null)  [$a :1 nil]  -ERR (the first word of an error)

package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// errStuck: no reply within the time limit. Always a violation: somebody waits for ever.
var errStuck = errors.New("no reply in time")

// conn is one connection. Its owner is one goroutine, except for kill.
type conn struct {
	socket net.Conn
	in     *bufio.Reader
	out    []byte
	id     string // CLIENT ID, once asked for
}

// reply is one value.
type reply struct {
	kind  byte // RESP's first byte; null is isNil, whatever its kind
	text  string
	isNil bool
	items []reply
}

func dial(address string) (*conn, error) {
	socket, err := net.DialTimeout("tcp", address, readLimit)
	if err != nil {
		return nil, err
	}
	return &conn{socket: socket, in: bufio.NewReaderSize(socket, 1<<16)}, nil
}

// put appends one command to what flush sends.
func (c *conn) put(words ...string) {
	c.out = append(c.out, '*')
	c.out = strconv.AppendInt(c.out, int64(len(words)), 10)
	c.out = append(c.out, '\r', '\n')
	for _, word := range words {
		c.out = append(c.out, '$')
		c.out = strconv.AppendInt(c.out, int64(len(word)), 10)
		c.out = append(c.out, '\r', '\n')
		c.out = append(c.out, word...)
		c.out = append(c.out, '\r', '\n')
	}
}

func (c *conn) flush() error {
	_, err := c.socket.Write(c.out)
	c.out = c.out[:0]
	return err
}

// read returns the next reply; errStuck after readLimit.
func (c *conn) read() (reply, error) {
	return c.readWithin(readLimit)
}

func (c *conn) readWithin(limit time.Duration) (reply, error) {
	if c.in.Buffered() == 0 {
		c.socket.SetReadDeadline(time.Now().Add(limit))
	}
	r, err := c.value()
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return r, errStuck
	}
	return r, err
}

// do sends one command and reads its reply.
func (c *conn) do(words ...string) (reply, error) {
	c.put(words...)
	if err := c.flush(); err != nil {
		return reply{}, err
	}
	return c.read()
}

func (c *conn) close() {
	c.socket.Close()
}

// reset closes with a TCP RST: the server hears of it at once, and what is on the wire is lost.
func (c *conn) reset() {
	c.socket.(*net.TCPConn).SetLinger(0)
	c.socket.Close()
}

func (c *conn) line() (string, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return "", fmt.Errorf("not RESP: %q", line)
	}
	return line[:len(line)-2], nil
}

func (c *conn) value() (reply, error) {
	line, err := c.line()
	if err != nil {
		return reply{}, err
	}
	if line == "" {
		return reply{}, errors.New("not RESP: an empty line")
	}
	r := reply{kind: line[0], text: line[1:]}
	switch r.kind {
	case '+', '-', ':', '_', '#', ',':
		r.isNil = r.kind == '_'
		return r, nil
	case '$':
		return c.bulk(r)
	case '*', '~', '>', '%':
		return c.array(r)
	}
	return r, fmt.Errorf("not RESP: %q", line)
}

func (c *conn) bulk(r reply) (reply, error) {
	size, err := strconv.Atoi(r.text)
	if err != nil || size < 0 {
		r.isNil = true
		return r, err
	}
	data := make([]byte, size+2)
	for at := 0; at < len(data); {
		n, err := c.in.Read(data[at:])
		if err != nil {
			return r, err
		}
		at += n
	}
	if data[size] != '\r' || data[size+1] != '\n' {
		return r, fmt.Errorf("no line end after a string of %d bytes", size)
	}
	r.text = string(data[:size])
	return r, nil
}

func (c *conn) array(r reply) (reply, error) {
	size, err := strconv.Atoi(r.text)
	if err != nil || size < 0 {
		r.isNil = true
		return r, err
	}
	if r.kind == '%' {
		size *= 2
	}
	r.items = make([]reply, size)
	for i := range r.items {
		if r.items[i], err = c.value(); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (r reply) number() int64 {
	n, _ := strconv.ParseInt(r.text, 10, 64)
	return n
}

func (r reply) String() string {
	switch {
	case r.isNil:
		return "nil"
	case r.kind == '-':
		return "-" + strings.SplitN(r.text, " ", 2)[0]
	case strings.IndexByte("*~>%", r.kind) >= 0:
		words := make([]string, len(r.items))
		for i, item := range r.items {
			words[i] = item.String()
		}
		return "[" + strings.Join(words, " ") + "]"
	}
	return string(r.kind) + r.text
}
