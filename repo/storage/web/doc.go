// Package web is what the stores that speak HTTP have in common: how they connect, how they send an object, and how they tell what
// went wrong.
//
// # Connections
//
// [NewTransport] makes a transport with a bound on connections, which speaks HTTP/1.1 only: so each request in flight has a connection of its
// own, and one lost packet does not hold up all of them. A connection on which nothing moves for a minute is cut, whoever was to speak.
//
// # Sending an object
//
// A Put that was given up must not take effect later, see package storage. A server acts on a body only when it is complete. So
// [Upload] cuts the connection if its context ends while the server lacks at least one byte; once the last byte is on its way, it waits for the
// answer instead, for a while, whatever the context says.
//
// # Errors
//
// [Explain] turns the errors of net/http into one sentence without the URL, which may carry a password, and marks those that trying
// again does not change.
package web
