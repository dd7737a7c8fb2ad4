"""Rekognition's words for what the laptop can see: names, ancestors, aliases, categories (label model 3.0).

From the Rekognition developer guide, its sample answers and answers published by its users. Where Rekognition
also lists what a thing merely tends to appear with (Surfboard: Sea), that ancestor is left out, being unseen.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """What Rekognition says of a label beside its confidence; parents are all ancestors, nearest or not."""

    name: str
    category: str | None = None
    parents: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


def entry_of(name: str) -> Entry:
    """The entry of a label; a name that Rekognition does not have stands for itself."""
    return ENTRIES.get(name, Entry(name))


def name_in_rekognition(name: str) -> str:
    """What Rekognition calls a thing that others write in lower case or by an alias; else the name itself."""
    return _NAMES.get(name.casefold(), name)


def _table(rows: str) -> dict[str, Entry]:
    return {entry.name: entry for entry in map(_row, rows.strip().splitlines())}


def _row(line: str) -> Entry:
    name, category, parents, aliases = (cell.strip() for cell in line.split("|"))
    return Entry(name, category, _names(parents), _names(aliases))


def _names(cell: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in cell.split(",") if name.strip())


# name | category | all ancestors | aliases
ENTRIES = _table("""
Person            | Person Description        |                                              | Human
Head              | Person Description        | Person                                       |
Face              | Person Description        | Head, Person                                 |
Text              | Text and Documents        |                                              |
Document          | Text and Documents        | Text                                         |
Publication       | Text and Documents        |                                              |
Book              | Text and Documents        | Publication                                  |
QR Code           | Text and Documents        |                                              |
Animal            | Animals and Pets          |                                              |
Mammal            | Animals and Pets          | Animal                                       |
Pet               | Animals and Pets          | Animal                                       |
Canine            | Animals and Pets          | Animal, Mammal                               |
Wildlife          | Animals and Pets          | Animal                                       |
Cattle            | Animals and Pets          | Animal, Livestock, Mammal                    |
Livestock         | Animals and Pets          | Animal, Mammal                               |
Bird              | Animals and Pets          | Animal                                       |
Cat               | Animals and Pets          | Animal, Mammal, Pet                          |
Dog               | Animals and Pets          | Animal, Canine, Mammal, Pet                  |
Horse             | Animals and Pets          | Animal, Mammal                               |
Sheep             | Animals and Pets          | Animal, Livestock, Mammal                    |
Cow               | Animals and Pets          | Animal, Cattle, Livestock, Mammal            |
Elephant          | Animals and Pets          | Animal, Mammal, Wildlife                     |
Bear              | Animals and Pets          | Animal, Mammal, Wildlife                     |
Zebra             | Animals and Pets          | Animal, Mammal, Wildlife                     |
Giraffe           | Animals and Pets          | Animal, Mammal, Wildlife                     |
Transportation    | Vehicles and Automotive   |                                              |
Vehicle           | Vehicles and Automotive   | Transportation                               |
Aircraft          | Vehicles and Automotive   | Transportation, Vehicle                      |
Bicycle           | Hobbies and Interests     | Transportation, Vehicle                      | Bike
Car               | Vehicles and Automotive   | Transportation, Vehicle                      | Automobile
Motorcycle        | Vehicles and Automotive   | Transportation, Vehicle                      | Motorbike
Airplane          | Vehicles and Automotive   | Aircraft, Transportation, Vehicle            | Plane
Bus               | Vehicles and Automotive   | Transportation, Vehicle                      |
Train             | Vehicles and Automotive   | Transportation, Vehicle                      |
Truck             | Vehicles and Automotive   | Transportation, Vehicle                      |
Boat              | Vehicles and Automotive   | Transportation, Vehicle                      |
Light             | Home and Indoors          |                                              |
Traffic Light     | Transport and Logistics   | Light                                        | Traffic Signal
Hydrant           | Public Safety             |                                              |
Fire Hydrant      | Public Safety             | Hydrant                                      |
Symbol            | Symbols and Flags         |                                              |
Sign              | Symbols and Flags         | Symbol                                       |
Road Sign         | Transport and Logistics   | Sign, Symbol                                 |
Stopsign          | Transport and Logistics   | Road Sign, Sign, Symbol                      | Stop Sign
Parking Meter     | Transport and Logistics   |                                              |
Furniture         | Furniture and Furnishings |                                              |
Table             | Furniture and Furnishings | Furniture                                    |
Bench             | Furniture and Furnishings | Furniture                                    |
Chair             | Furniture and Furnishings | Furniture                                    |
Couch             | Furniture and Furnishings | Furniture                                    | Sofa
Bed               | Furniture and Furnishings | Furniture                                    |
Dining Table      | Furniture and Furnishings | Furniture, Table                             |
Plant             | Plants and Flowers        |                                              |
Potted Plant      | Home and Indoors          | Plant                                        |
Accessories       | Apparel and Accessories   |                                              |
Bag               | Apparel and Accessories   |                                              |
Clothing          | Apparel and Accessories   |                                              |
Glove             | Apparel and Accessories   | Clothing                                     |
Backpack          | Apparel and Accessories   | Bag                                          |
Handbag           | Apparel and Accessories   | Accessories, Bag                             | Purse
Tie               | Apparel and Accessories   | Accessories                                  | Necktie
Baggage           | Travel and Adventure      |                                              | Luggage
Suitcase          | Travel and Adventure      | Baggage                                      |
Canopy            | Everyday Objects          |                                              |
Umbrella          | Everyday Objects          | Canopy                                       |
Toy               | Hobbies and Interests     |                                              |
Frisbee           | Toys and Gaming           | Toy                                          |
Kite              | Toys and Gaming           | Toy                                          |
Teddy Bear        | Hobbies and Interests     | Toy                                          |
Skis              | Sports                    |                                              |
Snowboard         | Sports                    |                                              |
Ball              | Sports                    |                                              |
Baseball Bat      | Sports                    |                                              |
Baseball Glove    | Sports                    | Clothing, Glove                              |
Skateboard        | Sports                    |                                              |
Surfboard         | Sports                    |                                              |
Racket            | Sports                    |                                              |
Tennis Racket     | Sports                    | Racket                                       |
Bottle            | Everyday Objects          |                                              |
Glass             | Kitchen and Dining        |                                              |
Wine Glass        | Kitchen and Dining        | Glass                                        |
Cup               | Kitchen and Dining        |                                              | Mug
Cutlery           | Kitchen and Dining        |                                              |
Fork              | Kitchen and Dining        | Cutlery                                      |
Spoon             | Kitchen and Dining        | Cutlery                                      |
Weapon            | Weapons and Military      |                                              |
Blade             | Weapons and Military      | Weapon                                       |
Knife             | Weapons and Military      | Blade, Weapon                                |
Bowl              | Kitchen and Dining        |                                              |
Food              | Food and Beverage         |                                              |
Produce           | Food and Beverage         | Food                                         |
Fruit             | Food and Beverage         | Food, Plant, Produce                         |
Citrus Fruit      | Food and Beverage         | Food, Fruit, Plant, Produce                  |
Vegetable         | Food and Beverage         | Food, Plant, Produce                         |
Sweets            | Food and Beverage         | Food                                         |
Dessert           | Food and Beverage         | Food                                         |
Banana            | Food and Beverage         | Food, Fruit, Plant, Produce                  |
Apple             | Food and Beverage         | Food, Fruit, Plant, Produce                  |
Sandwich          | Food and Beverage         | Food                                         |
Orange            | Food and Beverage         | Citrus Fruit, Food, Fruit, Plant, Produce    |
Broccoli          | Food and Beverage         | Food, Plant, Produce, Vegetable              |
Carrot            | Food and Beverage         | Food, Plant, Produce, Vegetable              |
Hot Dog           | Food and Beverage         | Food                                         |
Pizza             | Food and Beverage         | Food                                         |
Donut             | Food and Beverage         | Food, Sweets                                 | Doughnut
Cake              | Food and Beverage         | Dessert, Food                                |
Electronics       | Technology and Computing  |                                              |
Hardware          | Technology and Computing  | Electronics                                  |
Computer Hardware | Technology and Computing  | Electronics, Hardware                        |
Screen            | Technology and Computing  | Electronics                                  |
Monitor           | Technology and Computing  | Computer Hardware, Electronics, Hardware, Screen | Display, Digital Display, LCD Screen
TV                | Technology and Computing  | Computer Hardware, Electronics, Hardware, Monitor, Screen | Television
Computer          | Technology and Computing  | Electronics                                  |
Pc                | Technology and Computing  | Computer, Electronics                        | Personal Computer
Laptop            | Technology and Computing  | Computer, Electronics, Pc                    |
Mouse             | Technology and Computing  | Computer Hardware, Electronics, Hardware     |
Computer Keyboard | Technology and Computing  | Computer, Computer Hardware, Electronics, Hardware |
Remote Control    | Technology and Computing  | Electronics                                  |
Phone             | Technology and Computing  | Electronics                                  |
Mobile Phone      | Technology and Computing  | Electronics, Phone                           | Cell Phone
Device            | Tools and Machinery       |                                              |
Electrical Device | Home Appliances           | Device                                       |
Appliance         | Home Appliances           | Device, Electrical Device                    |
Oven              | Home Appliances           | Appliance, Device, Electrical Device         |
Microwave         | Home Appliances           | Appliance, Device, Electrical Device, Oven   |
Toaster           | Home Appliances           | Appliance, Device, Electrical Device         |
Refrigerator      | Home Appliances           | Appliance, Device, Electrical Device         | Fridge
Blow Dryer        | Home Appliances           | Appliance, Device, Electrical Device         | Hair Dryer
Sink              | Home and Indoors          |                                              |
Toilet            | Home and Indoors          |                                              |
Clock             | Home and Indoors          |                                              |
Jar               | Home and Indoors          |                                              |
Pottery           | Home and Indoors          |                                              |
Vase              | Home and Indoors          | Jar, Pottery                                 |
Scissors          | Tools and Machinery       |                                              |
Tool              | Tools and Machinery       | Device                                       |
Brush             | Tools and Machinery       | Device, Tool                                 |
Toothbrush        | Beauty and Personal Care  | Brush, Device, Tool                          |
""")  # noqa: E501

# The 80 classes of the COCO data set in its own order, as Rekognition calls them.
COCO = _names("""
    Person, Bicycle, Car, Motorcycle, Airplane, Bus, Train, Truck, Boat, Traffic Light,
    Fire Hydrant, Stopsign,
    Parking Meter, Bench, Bird, Cat, Dog, Horse, Sheep, Cow, Elephant, Bear, Zebra, Giraffe, Backpack,
    Umbrella, Handbag, Tie, Suitcase, Frisbee, Skis, Snowboard, Ball, Kite, Baseball Bat, Baseball Glove,
    Skateboard, Surfboard, Tennis Racket, Bottle, Wine Glass, Cup, Fork, Knife, Spoon, Bowl, Banana, Apple,
    Sandwich, Orange, Broccoli, Carrot, Hot Dog, Pizza, Donut, Cake, Chair, Couch, Potted Plant, Bed,
    Dining Table, Toilet, TV, Laptop, Mouse, Remote Control, Computer Keyboard, Mobile Phone, Microwave, Oven,
    Toaster, Sink, Refrigerator, Book, Clock, Vase, Scissors, Teddy Bear, Blow Dryer, Toothbrush
""")

_NAMES = {
    alias.casefold(): entry.name for entry in ENTRIES.values() for alias in (*entry.aliases, entry.name)
}
