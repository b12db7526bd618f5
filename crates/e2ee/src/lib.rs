//! What clients need of the server to encrypt for each other. The server reads nothing of what it keeps here; it sees to
//! it that nothing is lost or handed out twice.
