//! The integers that name things inside this server. They never leave it.

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl From<$name> for starling_db::Value<'_> {
            fn from(number: $name) -> Self {
                Self::Int(number.0)
            }
        }
    };
}

number!(
    /// A user, local or not.
    UserNum
);
number!(
    /// A room. 0 stands for "no room" where account data is of the whole account.
    RoomNum
);
number!(
    /// An event, from the sequence of positions; a live event's is its position.
    EventNum
);
number!(
    /// An event type.
    TypeNum
);
number!(
    /// A state key.
    KeyNum
);
number!(
    /// A device of a local user.
    DeviceNum
);
number!(
    /// A stored state of a room.
    SnapshotNum
);
