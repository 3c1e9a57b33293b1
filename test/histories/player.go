// SPDX-License-Identifier: BSD-3-Clause
//
// A player is a connection that plays units and writes down what it saw. A batch of units travels
// in one write; each unit's interval begins before that write and ends when its last reply has been
// read. Here is also how a unit looks on the wire, and the sabotage of what travels.

package main

import (
	"crypto/sha1"
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

const keyPrefix = "k" // a key's name in replies and in print is this and its number

type player struct {
	*conn
	lab     *lab
	dice    *rand.Rand
	prefix  string // of this round's keys
	history []porcupine.Operation
	loader  *loader
	last    string // sabotage: the reply of the last GET
	isDead  bool
}

func (p *player) key(key int) string {
	return p.prefix + keyPrefix + strconv.Itoa(key)
}

// words is a command as it is sent, with the keys' real names.
func (c command) words(key func(int) string) []string {
	words := strings.Fields(c.name)
	keys := make([]string, len(c.keys))
	for i := range c.keys {
		keys[i] = key(c.keys[i])
	}
	switch c.name {
	case "MSET", "MSETNX":
		for i := range keys {
			words = append(words, keys[i], c.args[i])
		}
		return words
	case "LMPOP", "BLMPOP": // args: side, count [, timeout]
		if c.name == "BLMPOP" {
			words = append(words, c.args[2])
		}
		words = append(append(words, strconv.Itoa(len(keys))), keys...)
		return append(words, c.args[0], "COUNT", c.args[1])
	case "LRANGE":
		return append(words, keys[0], "0", "-1")
	case "SETPX": // args: value, milliseconds
		return []string{"SET", keys[0], c.args[0], "PX", c.args[1]}
	}
	return append(append(words, keys...), c.args...)
}

// script returns EVAL's words. Undeclared keys come as an argument, or as two to be joined.
func (u *unit) script(key func(int) string) []string {
	var keys, args []string
	var calls []string
	declaredKeys := map[string]int{}
	place := func(word string, isKey bool) string {
		if isKey && u.how != undeclared && (u.how == declared || len(keys) == 0) {
			if declaredKeys[word] == 0 {
				keys = append(keys, word)
				declaredKeys[word] = len(keys)
			}
			return "KEYS[" + strconv.Itoa(declaredKeys[word]) + "]"
		}
		if isKey && (u.seq+uint16(len(args)))%2 == 0 {
			args = append(args, word[:3], word[3:])
			at := len(args)
			return "ARGV[" + strconv.Itoa(at-1) + "]..ARGV[" + strconv.Itoa(at) + "]"
		}
		args = append(args, word)
		return "ARGV[" + strconv.Itoa(len(args)) + "]"
	}
	for _, c := range u.commands {
		isKey := map[string]bool{}
		for _, k := range c.keys {
			isKey[key(k)] = true
		}
		var terms []string
		for i, word := range c.words(key) {
			if i == 0 {
				terms = append(terms, "'"+word+"'")
			} else {
				terms = append(terms, place(word, isKey[word]))
			}
		}
		calls = append(calls, "redis.pcall("+strings.Join(terms, ",")+")")
	}
	words := []string{"EVAL", "return {" + strings.Join(calls, ",") + "}", strconv.Itoa(len(keys))}
	return append(append(words, keys...), args...)
}

// library is the function of FCALL: its arguments are commands, each as its count of words and the
// words; #n stands for the n-th key.
const library = `#!lua name=histories
redis.register_function('histories', function(keys, args)
    local replies, at = {}, 1
    while at <= #args do
        local words = {}
        for i = at + 1, at + args[at] do
            local key = string.match(args[i], '^#(%d+)$')
            words[#words + 1] = key and keys[tonumber(key)] or args[i]
        end
        at = at + args[at] + 1
        replies[#replies + 1] = redis.pcall(unpack(words))
    end
    return replies
end)`

// fcall returns FCALL's words; every key is declared.
func (u *unit) fcall(key func(int) string) []string {
	var keys, args []string
	for _, c := range u.commands {
		words := c.words(func(k int) string {
			keys = append(keys, key(k))
			return "#" + strconv.Itoa(len(keys))
		})
		args = append(append(args, strconv.Itoa(len(words))), words...)
	}
	words := append([]string{"FCALL", "histories", strconv.Itoa(len(keys))}, keys...)
	return append(words, args...)
}

// loader is a connection that loads scripts for others.
type loader struct {
	*conn
	sync.Mutex
}

func (p *player) load(script string) {
	p.loader.Lock()
	defer p.loader.Unlock()
	p.lab.must(p.loader.conn, "SCRIPT", "LOAD", script)
}

// send puts a unit; receive must follow, in the same order.
func (p *player) send(u *unit) {
	switch u.how {
	case declared, undeclared, mixed:
		words := u.script(p.key)
		if u.byHash {
			words[0], words[1] = "EVALSHA", fmt.Sprintf("%x", sha1.Sum([]byte(words[1])))
		}
		p.put(words...)
		return
	case function:
		p.put(u.fcall(p.key)...)
		return
	case multi, discarded, aborted:
		p.put("MULTI")
	}
	for _, c := range u.commands {
		p.put(c.words(p.key)...)
	}
	switch u.how {
	case multi:
		p.put("EXEC")
	case discarded:
		p.put("DISCARD")
	case aborted:
		p.put("NOSUCHCOMMAND")
		p.put("EXEC")
	}
}

func (u *unit) isScript() bool {
	return u.how == declared || u.how == undeclared || u.how == mixed || u.how == function
}

// receive returns what the unit answered, or what is wrong with it as a text.
func (p *player) receive(u *unit) (*outcome, string, error) {
	extra := map[manner]int{multi: 2, discarded: 2, aborted: 3}[u.how]
	count := len(u.commands) + extra
	if u.isScript() {
		count = 1
	}
	said := make([]reply, count)
	for i := range said {
		var err error
		if said[i], err = p.read(); err != nil {
			return nil, "", err
		}
	}
	out := &outcome{}
	wrong := ""
	expect := func(r reply, want string) {
		if r.String() != want && wrong == "" {
			wrong = "want " + want + ", got " + r.String() + " " + r.text
		}
	}
	items := said
	switch u.how {
	case multi, discarded, aborted:
		expect(said[0], "+OK")
		for _, r := range said[1 : 1+len(u.commands)] {
			expect(r, "+QUEUED")
		}
		items = said[count-1].items
		switch end := said[count-1]; {
		case u.how == discarded:
			expect(end, "+OK")
		case u.how == aborted:
			expect(said[count-2], "-ERR")
			expect(end, "-EXECABORT")
		case end.isNil:
			out.isFailed = true
		case len(items) != len(u.commands):
			wrong = "EXEC answered " + end.String() + " " + end.text
		}
	case declared, undeclared, mixed, function:
		items = said[0].items
		if len(items) != len(u.commands) {
			wrong = "a script answered " + said[0].String() + " " + said[0].text
		}
	case watch, unwatch:
		expect(said[0], "+OK")
		return out, wrong, nil
	}
	if wrong != "" || u.how == discarded || u.how == aborted {
		return out, wrong, nil
	}
	for i, r := range items {
		if !out.isFailed {
			out.replies = append(out.replies, canonical(u.commands[i], r, p.prefix))
		}
	}
	return out, "", nil
}

// canonical is a reply's text with sets in order, short key names, and UNBLOCKED as the timeout it
// is. Errors that the model never answers stay whole, for those who read the history.
func canonical(c command, r reply, prefix string) string {
	switch c.name {
	case "INCRBY", "RENAME", "RENAMENX":
		return r.String()
	case "SMEMBERS", "SUNION", "SINTER":
		set := map[string]bool{}
		for _, item := range r.items {
			if set[item.text] {
				return r.String() // a member twice: no model answers that
			}
			set[item.text] = true
		}
		if (r.kind == '*' || r.kind == '~') && !r.isNil {
			return bulks(sorted(set))
		}
	case "BLPOP", "BRPOP", "BLMPOP", "LMPOP":
		return unblocked(strings.ReplaceAll(r.String(), prefix, ""))
	case "BLMOVE":
		return unblocked(r.String())
	}
	if r.kind == '-' {
		return "-" + r.text
	}
	return r.String()
}

func unblocked(text string) string {
	if text == "-UNBLOCKED" {
		return "nil"
	}
	return text
}

// record writes one unit down.
func (p *player) record(u *unit, call, end int64, out *outcome) {
	p.history = append(p.history, porcupine.Operation{ClientId: u.client, Input: u, Call: call,
		Output: out, Return: end})
	p.lab.count(1)
}

// play sends a batch and reads its replies; after `heard` replies the connection may be cut. What was
// sent and not answered is recorded as unknown, and the player is dead.
func (p *player) play(batch []*unit, heard int) {
	for _, u := range batch {
		if u.byHash {
			p.load(u.script(p.key)[1])
		}
	}
	call := p.lab.now()
	sent := p.sabotaged(batch)
	for _, u := range sent {
		p.send(u)
	}
	err := p.flush()
	for i, u := range batch {
		if err == nil && i == heard {
			p.reset()
			err = errCut
		}
		var out *outcome
		var wrong string
		if err == nil {
			out, wrong, err = p.receiveSabotaged(sent, u)
		}
		if err == errStuck {
			p.lab.violation("%s: no reply in %v", describeOperation(porcupine.Operation{
				Input: u, Output: &outcome{}, Call: call, Return: never}), readLimit)
			p.close()
			err = errCut
		}
		if wrong != "" {
			p.lab.violation("%s: %s", describeOperation(porcupine.Operation{
				Input: u, Output: &outcome{}, Call: call, Return: never}), wrong)
		}
		if err != nil || wrong != "" {
			p.isDead = true
			p.record(u, call, never, &outcome{isUnknown: true})
			continue
		}
		p.record(u, call, p.lab.now(), out)
	}
}

// ---- sabotage

// sabotaged returns what is really sent of a batch.
func (p *player) sabotaged(batch []*unit) []*unit {
	switch p.lab.sabotage {
	case "lost":
		var sent []*unit
		for _, u := range batch {
			if u.how != plain || !(u.commands[0].name == "SET" || u.commands[0].name == "RPUSH") ||
				p.dice.Intn(8) != 0 {
				sent = append(sent, u)
			}
		}
		return sent
	case "reorder":
		sent := append([]*unit(nil), batch...)
		for i := 1; i < len(sent); i++ {
			if sent[i].how == plain && sent[i-1].how == plain {
				sent[i], sent[i-1] = sent[i-1], sent[i]
			}
		}
		return sent
	case "torn":
		var sent []*unit
		for _, u := range batch {
			if u.how == multi || u.isScript() {
				for i := range u.commands {
					sent = append(sent, &unit{how: plain, commands: u.commands[i : i+1]})
				}
			} else {
				sent = append(sent, u)
			}
		}
		return sent
	}
	return batch
}

func (p *player) receiveSabotaged(sent []*unit, u *unit) (*outcome, string, error) {
	switch p.lab.sabotage {
	case "lost":
		isSent := false
		for _, other := range sent {
			isSent = isSent || other == u
		}
		if !isSent {
			return &outcome{replies: []string{"+OK"}}, "", nil
		}
	case "torn":
		if u.how == multi || u.isScript() {
			return p.receive(&unit{how: plain, commands: u.commands})
		}
	case "stale":
		out, wrong, err := p.receive(u)
		if err == nil && u.how == plain && u.commands[0].name == "GET" {
			if p.last != "" && p.dice.Intn(4) == 0 {
				out.replies[0] = p.last
			}
			p.last = out.replies[0]
		}
		return out, wrong, err
	}
	return p.receive(u)
}

// pause waits a random time below limit: half of the times not at all.
func pause(dice *rand.Rand, limit time.Duration) {
	if dice.Intn(2) == 0 {
		time.Sleep(time.Duration(dice.Int63n(int64(limit))))
	}
}
